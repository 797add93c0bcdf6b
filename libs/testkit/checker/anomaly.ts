/**
 * What can be wrong with a history. Names from Jepsen's Kafka workload mean what they mean there (jepsen/tests/kafka.clj,
 * https://github.com/jepsen-io/jepsen); the others are stricter rules of ours.
 *
 * - `lost-write` (Jepsen): a send was acknowledged at a place that does not hold it.
 * - `unseen` (Jepsen): a message is in the log, a group's position has passed it, and the group never handled it.
 * - `duplicate` (Jepsen): a value lies at two offsets.
 * - `inconsistent-offsets` (Jepsen): an offset held two values.
 * - `aborted-read` (Jepsen: G1a): a send failed, and somebody saw it.
 * - `int-poll-skip`, `poll-skip` (Jepsen): an ordered consumer jumped over messages, within a poll or between two.
 * - `int-nonmonotonic-poll`, `nonmonotonic-poll` (Jepsen): it went back, and the partition was not taken anew.
 * - `int-nonmonotonic-send`, `nonmonotonic-send` (Jepsen): what one sender sent later lies earlier in its partition.
 * - `phantom`: somebody saw what nobody sent.
 * - `gap`: the log has no value at an offset between its start and its end.
 * - `key-order`: a message was handled before an earlier one of its key.
 * - `fenced-write`: a position, or a message's mark, was written by somebody who did not own it.
 * - `epoch-regressed`: an epoch did not follow the one before it.
 * - `position-regressed`: a position went back without a reset.
 * - `inexact-effect`: a message has not exactly one effect, in a group whose effects commit with its position.
 * - `excess-duplicates`: a group handled more messages twice than crashes and takeovers can explain.
 */
export const anomalyNames = [
  "lost-write",
  "unseen",
  "duplicate",
  "inconsistent-offsets",
  "aborted-read",
  "int-poll-skip",
  "poll-skip",
  "int-nonmonotonic-poll",
  "nonmonotonic-poll",
  "int-nonmonotonic-send",
  "nonmonotonic-send",
  "phantom",
  "gap",
  "key-order",
  "fenced-write",
  "epoch-regressed",
  "position-regressed",
  "inexact-effect",
  "excess-duplicates",
] as const;

/** One of {@link anomalyNames}. */
export type AnomalyName = (typeof anomalyNames)[number];

/** Something that must not be, in words. */
export interface Anomaly {
  readonly name: AnomalyName;
  readonly text: string;
}

/** A message in words. */
export function message(sender: number, number: number): string {
  return `message ${sender}:${number}`;
}

/** A place in words. */
export function place(partition: number, offset: number): string {
  return `partition ${partition}, offset ${offset}`;
}
