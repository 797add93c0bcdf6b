import { type Duration, limits, type Problem, parseDurationMs } from "@sluice/kernel";
import type { BatchContext, HandlerContext } from "./context.ts";

/** How messages are gathered into a batch. */
export interface BatchOptions {
  /**
   * Messages of one batch at most, from 2 to 1,000. They are of one partition; in mode `"keyed"` no two of them have the
   * same key (while a batch runs, no other message of its keys is handed over).
   */
  readonly size: number;
  /** How long to gather while there are fewer than `size`, at most a minute. Default 0: what is there is handed over. */
  readonly wait?: Duration;
}

/** A batch consumer's half of a declaration. */
export interface Batching<Value> {
  readonly size: number;
  readonly waitMs: number;
  readonly handler: (context: BatchContext<Value>) => void | Promise<void>;
}

/** Options as they hold, of those that have no problems. */
export function batching<Value>(options: BatchOptions, handler: Batching<Value>["handler"]): Batching<Value> {
  return { size: options.size, waitMs: parseDurationMs(options.wait ?? 0) ?? 0, handler };
}

/** A batch handler as the handler of one message: so a message is handed over whose batch failed. */
export function handlerOfOne<Value>(
  handler: Batching<Value>["handler"],
): (context: HandlerContext<Value>) => void | Promise<void> {
  return (message) => handler(batchOf([message], message));
}

/** The context of a batch, by one of its messages. */
export function batchOf<Value>(
  messages: readonly HandlerContext<Value>[],
  one: HandlerContext<Value>,
): BatchContext<Value> {
  return {
    messages,
    topic: one.topic,
    partition: one.partition,
    group: one.group,
    get signal() {
      return one.signal;
    },
    tx: () => one.tx(),
    extend: (duration) => one.extend(duration),
  };
}

/** What is wrong with the handlers of a declaration, and with its batches. */
export function batchProblems(options: {
  readonly handler?: unknown;
  readonly batchHandler?: unknown;
  readonly batch?: BatchOptions;
  readonly mode?: unknown;
  readonly concurrency?: number;
  readonly prefetch?: number;
  readonly commit?: unknown;
  readonly rateLimit?: unknown;
}): Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  const { handler, batchHandler, batch } = options;
  if (batchHandler === undefined) {
    require(typeof handler === "function", "handler", "must be a function");
    require(batch === undefined, "batch", "is for a batchHandler; a handler gets one message at a time");
    return problems;
  }
  require(handler === undefined, "handler", "excludes batchHandler: declare one of the two");
  require(typeof batchHandler === "function", "batchHandler", "must be a function");
  require(options.mode !== "shared" &&
    options.mode !== "broadcast", "batchHandler", 'is for the modes "ordered" and "keyed"');
  require(options.rateLimit === undefined, "rateLimit", "cannot go with a batchHandler: it counts single messages");
  const size = batch?.size ?? 0;
  require(Number.isInteger(size) &&
    size >= 2 &&
    size <= limits.batchMessages, "batch.size", "must be a whole number from 2 to 1,000");
  const waitMs = parseDurationMs(batch?.wait ?? 0);
  require(waitMs !== undefined && waitMs <= 60_000, "batch.wait", "must be a duration of at most 1 minute");
  require(size <= (options.prefetch ?? 4_096), "prefetch", "must be at least batch.size");
  require(options.mode !== "keyed" ||
    size <= (options.concurrency ?? size), "concurrency", "must be at least batch.size: it counts messages");
  require(options.commit !==
    "explicit", "commit", 'must be "interval" with a batchHandler: its transaction, or its return, says what is done');
  return problems;
}
