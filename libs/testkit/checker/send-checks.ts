import { type Anomaly, message, place } from "./anomaly.ts";
import type { Known } from "./known.ts";
import { nowhere, type Operations } from "./operation.ts";

/**
 * What one sender sent to a partition lies there in the order of sending (invariant 7): within one send, and between sends, those
 * included whose outcome nobody knows. A sender is one line of sends, each begun after the one before was answered; sends that
 * are under way together are senders of their own.
 */
export function* nonmonotonicSend(history: Operations, { log }: Known): Iterable<Anomaly> {
  const last = new Map<number, number>();
  for (const [partition, entries] of log) {
    last.clear();
    for (let offset = 0; offset < entries.number.length; offset++) {
      const [sender, number] = [entries.sender.get(offset), entries.number.get(offset)];
      if (number === -1) continue;
      const before = last.get(sender) ?? -1;
      if (number < before)
        yield {
          name: "nonmonotonic-send",
          text: `${message(sender, number)} lies behind number ${before} of its sender, at ${place(partition, offset)}`,
        };
      last.set(sender, Math.max(before, number));
    }
  }
  yield* withinOneSend(history);
}

function* withinOneSend(history: Operations): Iterable<Anomaly> {
  for (const operation of history) {
    if (operation.op !== "send" || operation.type !== "ok") continue;
    const ends = new Map<number, number>();
    for (const [partition, offset, sender, number, count] of operation.runs) {
      if (offset === nowhere) continue;
      const before = ends.get(partition) ?? -1;
      if (offset < before)
        yield {
          name: "int-nonmonotonic-send",
          text: `${message(sender, number)} was told ${place(partition, offset)}, below ${before - 1} of the same send`,
        };
      ends.set(partition, Math.max(before, offset + count));
    }
  }
}
