import { type Anomaly, message, place } from "./anomaly.ts";
import { type Known, outcomes } from "./known.ts";
import { nowhere, type Operations } from "./operation.ts";

/** Every acknowledged message is in the log at the end, where its sender was told if it was (invariant 1). */
export function* lostWrite({ sent, log }: Known): Iterable<Anomaly> {
  for (const [sender, messages] of sent) {
    for (let number = 0; number < messages.outcome.length; number++) {
      if (messages.outcome.get(number) !== outcomes.acknowledged) continue;
      const isTold = messages.toldOffset.get(number) !== nowhere;
      const [partition, offset] = isTold
        ? [messages.toldPartition.get(number), messages.toldOffset.get(number)]
        : [messages.seenPartition.get(number), messages.seenOffset.get(number)];
      const entries = log.of(partition);
      const isThere =
        entries.final.get(offset) === 1 &&
        entries.sender.get(offset) === sender &&
        entries.number.get(offset) === number;
      if (!isThere)
        yield {
          name: "lost-write",
          text: `${message(sender, number)} was acknowledged ${isTold ? `at ${place(partition, offset)} and is not there` : "and is nowhere"}`,
        };
    }
  }
}

/** No value lies at two offsets (invariant 4). */
export function* duplicate({ sent, log }: Known): Iterable<Anomaly> {
  for (const [partition, entries] of log) {
    for (let offset = 0; offset < entries.number.length; offset++) {
      const [sender, number] = [entries.sender.get(offset), entries.number.get(offset)];
      if (number === -1) continue;
      const messages = sent.of(sender);
      const [otherPartition, otherOffset] = [messages.seenPartition.get(number), messages.seenOffset.get(number)];
      if (otherPartition !== partition || otherOffset !== offset)
        yield {
          name: "duplicate",
          text: `${message(sender, number)} is at ${place(otherPartition, otherOffset)} and at ${place(partition, offset)}`,
        };
    }
  }
}

/** Whoever sees an offset, or is told of it, and whenever, finds the same value there (invariants 3 and 8). */
export function* inconsistentOffsets(history: Operations, { log }: Known): Iterable<Anomaly> {
  for (const operation of history) {
    const tells = operation.op === "poll" || operation.op === "read";
    if (!tells && !(operation.op === "send" && operation.type === "ok")) continue;
    for (const [partition, first, sender, number, count] of operation.runs) {
      if (first === nowhere) continue;
      const entries = log.of(partition);
      for (let index = 0; index < count; index++) {
        const [otherSender, otherNumber] = [entries.sender.get(first + index), entries.number.get(first + index)];
        // What nobody has seen is for lost-write to judge.
        if (otherNumber === -1 || (otherSender === sender && otherNumber === number + index)) continue;
        yield {
          name: "inconsistent-offsets",
          text: `${place(partition, first + index)} held ${message(otherSender, otherNumber)}, and for ${operation.process} ${message(sender, number + index)}`,
        };
      }
    }
  }
}

/** Nobody sees what failed (invariant 2). */
export function* abortedRead({ sent }: Known): Iterable<Anomaly> {
  for (const [sender, messages] of sent) {
    for (let number = 0; number < messages.outcome.length; number++) {
      if (messages.outcome.get(number) !== outcomes.failed || messages.seenOffset.get(number) === -1) continue;
      const where = place(messages.seenPartition.get(number), messages.seenOffset.get(number));
      yield { name: "aborted-read", text: `${message(sender, number)} failed and is at ${where}` };
    }
  }
}

/** Nobody sees what nobody sent. */
export function* phantom({ sent }: Known): Iterable<Anomaly> {
  for (const [sender, messages] of sent) {
    for (let number = 0; number < messages.seenOffset.length; number++) {
      if (messages.seenOffset.get(number) === -1 || messages.outcome.get(number) !== outcomes.none) continue;
      const where = place(messages.seenPartition.get(number), messages.seenOffset.get(number));
      yield { name: "phantom", text: `${message(sender, number)} is at ${where}, and nobody sent it` };
    }
  }
}

/** Offsets are dense from the log's start to its end, and nothing was ever seen beyond (invariant 5). */
export function* gap({ log }: Known): Iterable<Anomaly> {
  for (const [partition, { start, end, final, number }] of log) {
    if (end === -1) continue;
    for (let offset = start; offset < end; offset++) {
      if (final.get(offset) !== 1)
        yield { name: "gap", text: `${place(partition, offset)} is empty, in a log from ${start} to ${end}` };
    }
    if (number.length > end)
      yield { name: "gap", text: `${place(partition, number.length - 1)} was seen, and the log ended at ${end}` };
  }
}
