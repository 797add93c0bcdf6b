import type { Log } from "@sluice/log";

/** A log that does some of its work wrong on purpose. */
export function brokenLog(log: Log, wrong: Partial<Log>): Log {
  return {
    append: (request) => log.append(request),
    appendGuarded: (request) => log.appendGuarded(request),
    read: (request) => log.read(request),
    ends: (partitions) => log.ends(partitions),
    offsetAt: (partition, timeMs) => log.offsetAt(partition, timeMs),
    droppedBelow: (partition) => log.droppedBelow(partition),
    trim: (topic) => log.trim(topic),
    ...wrong,
  };
}
