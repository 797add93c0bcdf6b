import type { ConsumedRecord } from "./record.ts";

/**
 * The transaction of {@link HandlerContext.tx}; the runtime that supplies it adds its type here (declaration merging),
 * because a contract knows no database.
 */
// biome-ignore lint/suspicious/noEmptyInterface: merged by the room that opens transactions
export interface HandlerTransaction {}

/** What a handler gets: the message, and what it may do with it. */
export interface HandlerContext<Value> extends ConsumedRecord<Value> {
  /** The group on whose behalf this runs. */
  readonly group: string;
  /** 1 the first time this process hands the message over, then one more each time. */
  readonly attempt: number;
  /** Aborted when the process must stop before the handler is done, or when its partition has another owner. */
  readonly signal: AbortSignal;
  /**
   * The transaction in which this message's position commits, opened at the first call: what the handler writes in it
   * happens exactly once, together with the position. It commits when the handler returns, rolls back when it throws.
   *
   * Fails with FENCED at the commit when the partition has another owner by then; nothing was written then.
   *
   * @example
   * handler: async (c) => { const tx = await c.tx(); await tx.insert(people).values(c.value) }
   */
  tx(): Promise<HandlerTransaction>;
  /**
   * With `commit: "explicit"`: marks everything up to this message as done and writes the position now.
   * Resolves when it is durable. In `"interval"` mode it does the same ahead of the interval.
   */
  commit(): Promise<void>;
}
