import { expect, test } from "bun:test";
import { type Clock, isSluiceError } from "@sluice/kernel";
import { TimeLimit } from "./time-limit.ts";

/** Timers that go off when the test says so. */
class HandClock implements Clock {
  readonly timers = new Map<number, () => void>();
  #last = 0;

  now(): number {
    return 0;
  }

  after(delayMs: number, callback: () => void): () => void {
    this.#last += 1;
    const number = this.#last;
    this.timers.set(number, () => {
      this.timers.delete(number);
      callback();
    });
    this.delays.push(delayMs);
    return () => this.timers.delete(number);
  }

  readonly delays: number[] = [];

  fire(): void {
    for (const timer of [...this.timers.values()]) timer();
  }
}

const never = new Promise<void>(() => undefined);

test("what ends in time is what it is, and leaves no timer", async () => {
  const clock = new HandClock();
  const limit = new TimeLimit(clock, 1_000, new AbortController().signal);
  expect(await limit.bound(Promise.resolve("done"))).toBe("done");
  limit.end();
  expect(clock.timers.size).toBe(0);
  expect(limit.isOver).toBe(false);
});

test("a handler that never ends is over with its time; its signal says why, also when it asks late", async () => {
  const clock = new HandClock();
  const limit = new TimeLimit(clock, 1_000, new AbortController().signal);
  const heard: boolean[] = [];
  limit.signal.addEventListener("abort", () => heard.push(limit.isOver));
  const bound = limit.bound(never);
  clock.fire();
  const error = await bound.catch((thrown: unknown) => thrown);
  expect(isSluiceError(error, "HANDLER_TIMEOUT")).toBe(true);
  expect(limit.signal.reason).toBe(error);
  expect(heard).toEqual([true]);
  const late = new TimeLimit(clock, 1_000, new AbortController().signal);
  clock.fire();
  expect(late.signal.aborted).toBe(true);
});

test("the signal passes on that the partition is taken away, while the handler runs", () => {
  const partition = new AbortController();
  const clock = new HandClock();
  const [running, ended] = [1, 2].map(() => new TimeLimit(clock, 1_000, partition.signal));
  const signals = [running?.signal, ended?.signal];
  ended?.end();
  partition.abort("taken away");
  expect(signals.map((signal) => signal?.aborted)).toEqual([true, false]);
  expect(running?.signal.reason).toBe("taken away");
  expect(running?.isOver).toBe(false);
  const after = new TimeLimit(clock, 1_000, partition.signal);
  expect(after.signal.aborted).toBe(true);
});

test("more time counts from now, and never shortens the limit", async () => {
  const clock = new HandClock();
  const limit = new TimeLimit(clock, 1_000, new AbortController().signal);
  limit.extend(10);
  expect(clock.delays).toEqual([1_000]);
  limit.extend(60_000);
  expect(clock.delays).toEqual([1_000, 60_000]);
  expect(clock.timers.size).toBe(1);
  limit.end();
});
