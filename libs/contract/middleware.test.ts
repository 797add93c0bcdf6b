import { expect, test } from "bun:test";
import { isSluiceError } from "@sluice/kernel";
import type { HandlerContext } from "./context.ts";
import { compose, type Middleware } from "./middleware.ts";

const context = {} as HandlerContext<unknown>;

test("without a middleware the handler is the handler: nothing is wrapped", () => {
  const handler = () => undefined;
  expect(compose([], handler)).toBe(handler);
});

test("the first one is outermost, and an error travels outward through all of them", async () => {
  const seen: string[] = [];
  const named =
    (name: string): Middleware =>
    async (_, next) => {
      seen.push(`${name} in`);
      try {
        await next();
      } catch (error) {
        seen.push(`${name} sees ${(error as Error).message}`);
        throw error;
      }
      seen.push(`${name} out`);
    };
  await compose([named("a"), named("b")], () => void seen.push("handler"))(context);
  expect(seen.splice(0)).toEqual(["a in", "b in", "handler", "b out", "a out"]);
  const failing = compose([named("a"), named("b")], () => {
    throw new Error("it");
  });
  await expect(Promise.resolve(failing(context))).rejects.toThrow("it");
  expect(seen).toEqual(["a in", "b in", "b sees it", "a sees it"]);
});

test("not calling next leaves the handler out; swallowing an error makes it well", async () => {
  const seen: string[] = [];
  await compose([async () => void seen.push("short")], () => void seen.push("handler"))(context);
  const swallow: Middleware = (_, next) => next().catch((error: Error) => void seen.push(error.message));
  await compose([swallow], () => Promise.reject(new Error("swallowed")))(context);
  expect(seen).toEqual(["short", "swallowed"]);
});

test("a second next, and one after the middleware has ended, is refused", async () => {
  const handled: number[] = [];
  const late = Promise.withResolvers<() => Promise<void>>();
  const twice: Middleware = async (_, next) => {
    await next();
    await next();
  };
  const error = await Promise.resolve(compose([twice], () => void handled.push(1))(context)).catch((e: unknown) => e);
  expect(isSluiceError(error, "HANDLER_MISUSE")).toBe(true);
  await compose([async (_, next) => late.resolve(next)], () => void handled.push(1))(context);
  const next = await late.promise;
  expect(() => next()).toThrow("after its middleware had ended");
  expect(handled.length).toBe(1);
});

test("a next that nobody waits for is waited for, and its failure is not lost", async () => {
  const gate = Promise.withResolvers<void>();
  const careless: Middleware = async (_, next) => void next();
  let isOver = false;
  const slow = Promise.resolve(compose([careless], () => gate.promise)(context)).then(() => {
    isOver = true;
  });
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  expect(isOver).toBe(false);
  gate.resolve();
  await slow;
  for (const handler of [
    () => Promise.reject(new Error("lost?")),
    () => Promise.resolve().then(() => Promise.reject(new Error("lost?"))),
  ]) {
    const careless2: Middleware = async (_, next) => {
      next();
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    };
    await expect(Promise.resolve(compose([careless2], handler)(context))).rejects.toThrow("lost?");
    await expect(Promise.resolve(compose([careless], handler)(context))).rejects.toThrow("lost?");
  }
});

test("a middleware that throws while the handler runs waits for it, and its own error counts", async () => {
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const hasty: Middleware = async (_, next) => {
    void next();
    throw new Error("hasty");
  };
  const whole = Promise.resolve(compose([hasty], () => gate.promise.then(() => void seen.push("handler")))(context));
  const over = whole.catch((error: Error) => void seen.push(error.message));
  gate.resolve();
  await over;
  expect(seen).toEqual(["handler", "hasty"]);
});
