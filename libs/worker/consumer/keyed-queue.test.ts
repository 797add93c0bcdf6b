import { expect, test } from "bun:test";
import fc from "fast-check";
import { KeyedQueue } from "./keyed-queue.ts";

interface Task {
  readonly key: string | null;
  readonly number: number;
}

const plan = fc.record({
  keys: fc.array(fc.constantFrom("a", "b", "c", null), { minLength: 1, maxLength: 40 }),
  concurrency: fc.integer({ min: 1, max: 5 }),
  choices: fc.array(fc.record({ pick: fc.nat(), putOff: fc.boolean() }), { minLength: 200, maxLength: 200 }),
});

test("[N2][I21] tasks of one key run one after the other in order, also across those put off, and never too many", () => {
  fc.assert(
    fc.property(plan, ({ keys, concurrency, choices }) => {
      const running: Task[] = [];
      const waiting: Task[] = [];
      const finished: Task[] = [];
      const queue = new KeyedQueue<Task>(concurrency, (task) => {
        const sameKey =
          task.key !== null && [...running, ...waiting].some((other) => other.key === task.key && other !== task);
        expect(sameKey).toBe(false);
        running.push(task);
        expect(running.length).toBeLessThanOrEqual(concurrency);
      });
      for (const [number, key] of keys.entries()) queue.add({ key, number });
      for (const { pick, putOff } of choices) {
        // A task that was put off comes back now and then, and for certain when nothing else runs.
        const late = waiting.length > 0 && (running.length === 0 || pick % 3 === 0) ? waiting.shift() : undefined;
        if (late !== undefined) queue.resume(late);
        const task = running.splice(pick % Math.max(1, running.length), 1)[0];
        if (task === undefined) continue;
        if (putOff && pick % 2 === 0) {
          waiting.push(task);
          queue.putOff(task);
        } else {
          finished.push(task);
          queue.finished(task);
        }
      }
      for (const key of ["a", "b", "c"]) {
        const order = finished.filter((task) => task.key === key).map(({ number }) => number);
        expect(order).toEqual([...order].sort((a, b) => a - b));
      }
      expect(new Set(finished).size).toBe(finished.length);
    }),
  );
});

test("[N2] a task that is put off keeps its key waiting and gives its place to another", () => {
  const begun: number[] = [];
  const queue = new KeyedQueue<Task>(1, (task) => begun.push(task.number));
  const tasks: Task[] = [
    { key: "a", number: 0 },
    { key: "a", number: 1 },
    { key: "b", number: 2 },
  ];
  for (const task of tasks) queue.add(task);
  queue.putOff(tasks[0] as Task);
  expect(begun).toEqual([0, 2]);
  queue.finished(tasks[2] as Task);
  expect(begun).toEqual([0, 2]);
  queue.resume(tasks[0] as Task);
  queue.finished(tasks[0] as Task);
  expect(begun).toEqual([0, 2, 0, 1]);
});

test("a queue that is stopped begins nothing", () => {
  const begun: number[] = [];
  const queue = new KeyedQueue<Task>(1, (task) => begun.push(task.number));
  queue.add({ key: null, number: 0 });
  queue.add({ key: null, number: 1 });
  queue.stop();
  queue.finished({ key: null, number: 0 });
  expect(begun).toEqual([0]);
});

test("a queue that is held begins nothing, what runs finishes, and it goes on in order when it is let go", () => {
  const begun: number[] = [];
  const queue = new KeyedQueue<Task>(1, (task) => begun.push(task.number));
  const tasks: Task[] = [0, 1, 2].map((number) => ({ key: number === 2 ? null : "a", number }));
  queue.add(tasks[0] as Task);
  queue.hold();
  queue.add(tasks[1] as Task);
  queue.add(tasks[2] as Task);
  queue.finished(tasks[0] as Task);
  expect(begun).toEqual([0]);
  queue.letGo();
  queue.finished(tasks[2] as Task);
  expect(begun).toEqual([0, 2, 1]);
});

test("a queue that two hold goes on when both have let it go, however often each of them says so", () => {
  const begun: number[] = [];
  const queue = new KeyedQueue<Task>(3, (task) => begun.push(task.number));
  queue.hold();
  queue.hold();
  queue.hold("alone");
  queue.add({ key: null, number: 0 });
  queue.letGo();
  queue.letGo();
  expect(begun).toEqual([]);
  queue.letGo("alone");
  expect(begun).toEqual([0]);
});

test("a queue with fewer places interrupts nobody and begins none until enough are over; with more it begins at once", () => {
  const begun: number[] = [];
  const queue = new KeyedQueue<Task>(3, (task) => begun.push(task.number));
  const tasks: Task[] = [0, 1, 2, 3, 4, 5].map((number) => ({ key: null, number }));
  for (const task of tasks) queue.add(task);
  queue.limitTo(1);
  queue.finished(tasks[0] as Task);
  queue.finished(tasks[1] as Task);
  expect(begun).toEqual([0, 1, 2]);
  queue.finished(tasks[2] as Task);
  expect(begun).toEqual([0, 1, 2, 3]);
  queue.limitTo(3);
  expect(begun).toEqual([0, 1, 2, 3, 4, 5]);
});

test("[R5] those that are resumed and those that are new take turns, and what goes first goes before both", () => {
  const begun: number[] = [];
  const tasks = Array.from({ length: 9 }, (_, number): Task & { readonly key: null } => ({ key: null, number }));
  const queue = new KeyedQueue<Task>(1, ({ number }) => begun.push(number));
  const at = (number: number) => tasks[number] as (typeof tasks)[number];
  for (const number of [0, 1, 2, 3, 4]) queue.add(at(number));
  for (const number of [5, 6]) queue.resume(at(number));
  for (const number of [7, 8]) queue.addFirst(at(number));
  for (let ended = 0; ended < begun.length; ended += 1) queue.finished(at(begun[ended] ?? -1));
  expect(begun).toEqual([0, 7, 8, 1, 5, 2, 6, 3, 4]);
});
