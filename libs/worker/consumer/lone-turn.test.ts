import { expect, test } from "bun:test";
import { Hands } from "./hands.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { LoneTurn } from "./lone-turn.ts";

test("[I16] while one goes alone its queue begins nothing, and who waits for it waits for those that follow at once, too", async () => {
  const begun: number[] = [];
  const queue = new KeyedQueue<{ readonly key: null; readonly number: number }>(3, ({ number }) => {
    begun.push(number);
    if (number < 2) lone.take();
  });
  const lone = new LoneTurn(queue);
  for (const number of [0, 1, 2, 3]) queue.add({ key: null, number });
  let isOver = false;
  const over = lone.over().then(() => {
    isOver = true;
  });
  expect(begun).toEqual([0]);
  lone.end();
  await Promise.resolve();
  expect({ begun, isOver, isTaken: lone.isTaken }).toEqual({ begun: [0, 1], isOver: false, isTaken: true });
  lone.end();
  await over;
  expect(begun).toEqual([0, 1, 2]);
});

test("hands are free when all that runs waits for its turn, and idle when nothing runs", async () => {
  const hands = new Hands();
  const told: string[] = [];
  hands.begin(3);
  hands.beginTurn();
  void hands.free().then(() => told.push("free"));
  void hands.idle().then(() => told.push("idle"));
  hands.leave();
  await Promise.resolve();
  expect(told).toEqual([]);
  hands.leave();
  for (let turn = 0; turn < 3; turn += 1) await Promise.resolve();
  expect({ told, isRunning: hands.isRunning }).toEqual({ told: ["free"], isRunning: true });
  hands.leaveTurn();
  for (let turn = 0; turn < 3; turn += 1) await Promise.resolve();
  expect({ told, isRunning: hands.isRunning }).toEqual({ told: ["free", "idle"], isRunning: false });
});

test("who asks after a turn asks again if another one was taken meanwhile", async () => {
  const turn = new LoneTurn({ hold: () => undefined, letGo: () => undefined });
  const asked: boolean[] = [];
  turn.take();
  const answer = turn.after(async () => {
    asked.push(turn.isTaken);
    if (asked.length === 1) turn.take();
    return asked.length;
  });
  turn.end();
  await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toEqual([false]);
  turn.end();
  expect(await answer).toBe(2);
  expect(asked).toEqual([false, false]);
});
