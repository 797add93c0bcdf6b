/** What became of one send, as its sender saw it. A commit whose answer was lost is unknown, never failed. */
export interface SendEvent {
  readonly sender: string;
  /** Counts the sender's messages, in the order in which it sent them. */
  readonly number: number;
  readonly value: string;
  readonly outcome: "acknowledged" | "failed" | "unknown";
  /** Where it is; set when it was acknowledged. */
  readonly partition?: number;
  readonly offset?: number;
}

/** A record as somebody saw it in the log. */
export interface LogEntry {
  readonly partition: number;
  readonly offset: number;
  readonly value: string;
}

/** One handing-over to a handler, in the order in which they happened. */
export interface DeliveryEvent extends LogEntry {
  readonly group: string;
  readonly epoch: number;
}

/** A position that was taken over, or written: events of one history, in the order in which they happened. */
export type PositionEvent =
  | { readonly kind: "taken"; readonly position: number; readonly epoch: number; readonly nextOffset: number }
  | {
      readonly kind: "committed";
      readonly position: number;
      readonly epoch: number;
      readonly nextOffset: number;
      /** The number of the last event before the write was begun. */
      readonly begunAfter: number;
    };

/** An answer to an append that was made, or made again. */
export interface AppendAnswer {
  readonly producer: number;
  readonly sequence: number;
  readonly partition: number;
  readonly offset: number;
}

/** What happened, in order; the checks below are pure functions of its parts. */
export class History {
  readonly sends: SendEvent[] = [];
  readonly observations: LogEntry[] = [];
  readonly deliveries: DeliveryEvent[] = [];
  readonly positions: PositionEvent[] = [];
  readonly answers: AppendAnswer[] = [];
}

const place = (partition: number, offset: number) => `partition ${partition}, offset ${offset}`;

/** Invariant 1: every acknowledged send is readable, where its sender was told. */
export function acknowledgedIsReadable(sends: readonly SendEvent[], log: readonly LogEntry[]): string[] {
  const byPlace = new Map(log.map((entry) => [place(entry.partition, entry.offset), entry.value]));
  return sends.flatMap((send) => {
    if (send.outcome !== "acknowledged") return [];
    const where = place(send.partition ?? -1, send.offset ?? -1);
    const found = byPlace.get(where);
    if (found === send.value) return [];
    return [`${send.value} was acknowledged at ${where}, which holds ${found ?? "nothing"}`];
  });
}

/** Invariant 2: no failed send is ever readable. */
export function failedIsNeverReadable(sends: readonly SendEvent[], log: readonly LogEntry[]): string[] {
  const failed = new Set(sends.filter(({ outcome }) => outcome === "failed").map(({ value }) => value));
  return log.flatMap((entry) =>
    failed.has(entry.value) ? [`${entry.value} failed and is at ${place(entry.partition, entry.offset)}`] : [],
  );
}

/** Invariant 3: whoever sees an offset, and whenever, sees the same value. */
export function offsetHasOneValue(observations: readonly LogEntry[]): string[] {
  const first = new Map<string, string>();
  return observations.flatMap((entry) => {
    const where = place(entry.partition, entry.offset);
    const before = first.get(where);
    if (before === undefined) first.set(where, entry.value);
    return before === undefined || before === entry.value ? [] : [`${where} held ${before}, then ${entry.value}`];
  });
}

/** Invariant 4: a value (tests send each once) has one offset. */
export function valueHasOneOffset(log: readonly LogEntry[]): string[] {
  const first = new Map<string, string>();
  return log.flatMap((entry) => {
    const where = place(entry.partition, entry.offset);
    const before = first.get(entry.value);
    if (before === undefined) first.set(entry.value, where);
    return before === undefined || before === where ? [] : [`${entry.value} is at ${before} and at ${where}`];
  });
}

/** Invariant 7: what one sender sent to a partition lies there in the order of sending. */
export function senderOrderHolds(sends: readonly SendEvent[], log: readonly LogEntry[]): string[] {
  const sent = new Map(sends.map((send) => [send.value, send]));
  const last = new Map<string, SendEvent>();
  return inLogOrder(log).flatMap((entry) => {
    const send = sent.get(entry.value);
    if (send === undefined) return [];
    const line = `${send.sender} in partition ${entry.partition}`;
    const before = last.get(line);
    last.set(line, send);
    return before === undefined || before.number < send.number
      ? []
      : [`${line}: number ${send.number} lies behind number ${before.number}, at offset ${entry.offset}`];
  });
}

/** Invariant 8: repeating an append answers the offset of the first time. */
export function repeatAnswersFirstOffset(answers: readonly AppendAnswer[]): string[] {
  const first = new Map<string, AppendAnswer>();
  return answers.flatMap((answer) => {
    const name = `producer ${answer.producer}, sequence ${answer.sequence}`;
    const before = first.get(name);
    if (before === undefined) first.set(name, answer);
    return before === undefined || (before.partition === answer.partition && before.offset === answer.offset)
      ? []
      : [`${name}: first ${place(before.partition, before.offset)}, then ${place(answer.partition, answer.offset)}`];
  });
}

/** Invariant 9: within an epoch an ordered consumer sees contiguous offsets (a repeated attempt is one of the same). */
export function epochIsContiguous(deliveries: readonly DeliveryEvent[]): string[] {
  const last = new Map<string, number>();
  return deliveries.flatMap(({ group, partition, epoch, offset }) => {
    const line = `group ${group}, partition ${partition}, epoch ${epoch}`;
    const before = last.get(line);
    last.set(line, offset);
    return before === undefined || offset === before || offset === before + 1
      ? []
      : [`${line}: offset ${offset} came after ${before}`];
  });
}

/** Invariant 10: the first delivery of an epoch is at the position that was committed when it was taken. */
export function epochBeginsAtPosition(deliveries: readonly DeliveryEvent[], taken: readonly TakenFrom[]): string[] {
  const begun = new Set<string>();
  return deliveries.flatMap(({ group, partition, epoch, offset }) => {
    const line = `group ${group}, partition ${partition}, epoch ${epoch}`;
    if (begun.has(line)) return [];
    begun.add(line);
    const from = taken.find((one) => one.partition === partition && one.epoch === epoch)?.committedOffset;
    return from === offset ? [] : [`${line}: began at ${offset}, but ${from ?? "nothing"} was committed`];
  });
}

/** What the database held for a partition when an epoch began. */
export interface TakenFrom {
  readonly partition: number;
  readonly epoch: number;
  readonly committedOffset: number;
}

/** Invariant 12: nothing that was begun after a takeover commits under an epoch before it. */
export function oldEpochNeverCommits(events: readonly PositionEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.kind !== "committed") return [];
    const newer = events.find(
      (other, index) =>
        other.kind === "taken" &&
        other.position === event.position &&
        other.epoch > event.epoch &&
        index <= event.begunAfter,
    );
    return newer === undefined
      ? []
      : [
          `position ${event.position}: epoch ${event.epoch} wrote ${event.nextOffset} after epoch ${newer.epoch} had begun`,
        ];
  });
}

/** Invariants 14 and 19: each acknowledged value was delivered to the group; and nothing else was. */
export function acknowledgedIsDelivered(
  sends: readonly SendEvent[],
  deliveries: readonly Pick<DeliveryEvent, "value">[],
): string[] {
  const seen = new Set(deliveries.map(({ value }) => value));
  const known = new Set(sends.map(({ value }) => value));
  return [
    ...sends.flatMap(({ outcome, value }) =>
      outcome === "acknowledged" && !seen.has(value) ? [`${value} was acknowledged and never delivered`] : [],
    ),
    ...[...seen].flatMap((value) => (known.has(value) ? [] : [`${value} was delivered and never sent`])),
  ];
}

function inLogOrder(log: readonly LogEntry[]): LogEntry[] {
  return [...log].sort((a, b) => a.partition - b.partition || a.offset - b.offset);
}
