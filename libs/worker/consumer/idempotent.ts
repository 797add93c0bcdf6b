import { type ConsumedRecord, type Handler, isUnstorable } from "@sluice/contract";
import { type Duration, limits, parseDurationMs, problemsError, SluiceError } from "@sluice/kernel";
import { sql } from "drizzle-orm";

/** How {@link idempotent} remembers. */
export interface IdempotentOptions {
  /** For how long, at least, a key is remembered after its effect; default seven days. */
  readonly keep?: Duration;
}

/**
 * Wraps a handler so that it runs once per key and group, whatever number of messages carry the key: the key is written in
 * the transaction of `c.tx()`, so what the handler writes there and the key commit together. A message whose key is
 * there already is done without the handler. One that comes while another of its key is being handled waits for it,
 * and runs if that fails.
 *
 * The key may be anything of the message's own: an order's number, an event's id; 1 to 512 characters. What the handler does
 * outside `c.tx()` is done at least once, as ever.
 *
 * Fails with INVALID_OPTIONS when it is declared wrongly; a message whose key is no such text fails with INVALID_VALUE, as one
 * whose handler throws.
 *
 * @example
 * handler: idempotent((c) => c.value.orderId, async (c) => { const tx = await c.tx(); await tx.insert(invoices).values(c.value) })
 */
export function idempotent<Value, Reply = never>(
  key: (record: ConsumedRecord<Value>) => string,
  handler: Handler<Value, Reply>,
  options: IdempotentOptions = {},
): Handler<Value, Reply> {
  const keepMs = parseDurationMs(options.keep ?? "7d") ?? 0;
  const problems = [
    ...(typeof key === "function" ? [] : [{ path: "key", message: "must be a function of the message" }]),
    ...(typeof handler === "function" ? [] : [{ path: "handler", message: "must be a function" }]),
    ...(keepMs > 0 ? [] : [{ path: "keep", message: 'must be a duration above zero, such as "7d"' }]),
  ];
  if (problems.length > 0) throw problemsError("INVALID_OPTIONS", "idempotent is not declared well:", problems);
  return async (c) => {
    const name: unknown = key(c);
    if (typeof name !== "string" || name.length < 1 || name.length > limits.idempotenceKeyCharacters) {
      throw refused(`must be 1 to ${limits.idempotenceKeyCharacters} characters`);
    }
    if (isUnstorable(name)) throw refused("holds a NUL character or a lone surrogate");
    const tx = await c.tx();
    const rows = await tx.execute<{ claimed: boolean }>(
      sql`select sluice.claim_key(${c.group}, ${name}, ${keepMs}::bigint) as claimed`,
    );
    const claimed = rows[0]?.claimed;
    if (claimed === undefined) throw new SluiceError("INTERNAL", "claiming a key gave no answer");
    if (claimed) await handler(c);
  };
}

function refused(message: string): SluiceError {
  return problemsError("INVALID_VALUE", "a message has no key by which it could be handled once:", [
    { path: "key", message },
  ]);
}
