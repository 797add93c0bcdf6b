import { SluiceError } from "@sluice/kernel";
import type { HandlerContext } from "./context.ts";

/** Hands the message on: to the next middleware, or to the handler. Once. */
export type Next = () => Promise<void>;

/**
 * Something around every handing-over, as in Hono: what stands before `await next()` comes before the handler, what stands
 * after it comes after. What the handler throws comes out of `next`. Not calling it leaves the handler out, and the
 * message is done. A second call throws HANDLER_MISUSE.
 *
 * A record that does not fit the topic's schema reaches no middleware: it has no value.
 *
 * @example
 * const timed: Middleware = async (c, next) => {
 *   const begin = performance.now();
 *   await next();
 *   histogram.record(performance.now() - begin, { topic: c.topic });
 * };
 */
export type Middleware<Value = unknown> = (context: HandlerContext<Value>, next: Next) => Promise<void>;

/** One function of a handler with middlewares around it, the first one outermost. With none it is the handler itself. */
export function compose<Value>(
  use: readonly Middleware<Value>[],
  handler: (context: HandlerContext<Value>) => void | Promise<void>,
): (context: HandlerContext<Value>) => void | Promise<void> {
  return use.reduceRight((inner, middleware) => (context) => runMiddleware(middleware, context, inner), handler);
}

async function runMiddleware<Value>(
  middleware: Middleware<Value>,
  context: HandlerContext<Value>,
  inner: (context: HandlerContext<Value>) => void | Promise<void>,
): Promise<void> {
  let handling: Handling | undefined;
  let isOver = false;
  const next = () => {
    if (isOver) throw new SluiceError("HANDLER_MISUSE", "next() was called after its middleware had ended");
    if (handling !== undefined) throw new SluiceError("HANDLER_MISUSE", "a middleware called next() twice");
    handling = new Handling(async () => await inner(context));
    return handling.watched;
  };
  try {
    await middleware(context, next);
  } catch (error) {
    // A handler that still runs is not left alone; the middleware's error is the one that counts.
    await handling?.whole.catch(() => undefined);
    throw error;
  } finally {
    isOver = true;
  }
  if (handling !== undefined && !handling.isSeen) await handling.whole;
}

/** What `next` began. */
class Handling {
  /** Its outcome. */
  readonly whole: Promise<void>;
  /** The same for the middleware: whether anybody waited for it is noticed. */
  readonly watched: Promise<void>;
  #isWatched = false;
  #isSettled = false;

  constructor(run: () => Promise<void>) {
    this.whole = run().finally(() => {
      this.#isSettled = true;
    });
    // Whoever runs the middleware takes care of a failure that nobody waited for.
    this.whole.catch(() => undefined);
    const { whole } = this;
    this.watched = {
      // biome-ignore lint/suspicious/noThenProperty: a promise that tells whether somebody asked for its outcome
      then: (resolved, rejected) => {
        this.#isWatched = true;
        return whole.then(resolved, rejected);
      },
      catch: (rejected) => this.watched.then(undefined, rejected),
      finally: (settled) => this.watched.then().finally(settled),
      [Symbol.toStringTag]: "Promise",
    };
  }

  /** Whether the middleware has heard of its outcome; what it made of that is its own affair. */
  get isSeen(): boolean {
    return this.#isWatched && this.#isSettled;
  }
}

/** What is wrong with a list of middlewares, or `undefined`. */
export function middlewareProblem(use: unknown): string | undefined {
  if (use === undefined) return undefined;
  const isList = Array.isArray(use) && use.every((middleware) => typeof middleware === "function");
  return isList ? undefined : "must be a list of functions (c, next) => Promise<void>";
}
