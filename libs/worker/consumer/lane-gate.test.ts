import { expect, test } from "bun:test";
import fc from "fast-check";
import { KeyedQueue } from "./keyed-queue.ts";
import { LaneGate, type QueueLane } from "./lane-gate.ts";

interface Task {
  readonly key: string | null;
  readonly lane: number;
  readonly number: number;
  state: "waiting" | "running" | "put off" | "over";
}

const lanes = 3;
const plan = fc.record({
  arrivals: fc.array(
    fc.record({ lane: fc.nat(lanes - 1), key: fc.constantFrom("a", "b", "c", null), after: fc.nat(3) }),
    { minLength: 1, maxLength: 40 },
  ),
  places: fc.integer({ min: 1, max: 4 }),
  choices: fc.array(fc.record({ pick: fc.nat(), putOff: fc.boolean() }), { minLength: 300, maxLength: 300 }),
});

/** What could begin if it had a place: its key runs nowhere, and none of its key comes before it in its lane. */
function couldBegin(task: Task, all: readonly Task[]): boolean {
  if (task.state !== "waiting") return false;
  return all.every(
    (other) =>
      other === task ||
      other.key !== task.key ||
      task.key === null ||
      (other.state !== "running" && (other.lane !== task.lane || other.number > task.number || other.state === "over")),
  );
}

/** Tasks that come and end in every order: never too many, never two of a key, in order within a lane, and the urgent first. */
function check(laneOf: (gate: LaneGate, priority: number) => QueueLane | undefined): void {
  fc.assert(
    fc.property(plan, ({ arrivals, places, choices }) => {
      const all: Task[] = [];
      const begin = (task: Task) => {
        expect(couldBegin(task, all)).toBe(true);
        expect(all.filter((other) => other.lane > task.lane && couldBegin(other, all))).toEqual([]);
        task.state = "running";
        expect(all.filter(({ state }) => state === "running").length).toBeLessThanOrEqual(places);
      };
      const gate = new LaneGate(places);
      const queues = Array.from(
        { length: lanes },
        (_, lane) => new KeyedQueue<Task>(places, begin, laneOf(gate, lane)),
      );
      const queueOf = (task: Task) => queues[task.lane] as KeyedQueue<Task>;
      const arriving = arrivals.entries();
      for (const { pick, putOff } of choices) {
        const next = pick % 2 === 0 ? arriving.next().value : undefined;
        if (next !== undefined) {
          const task: Task = { key: next[1].key, lane: next[1].lane, number: next[0], state: "waiting" };
          all.push(task);
          queueOf(task).add(task);
        }
        const late = all.find(({ state }) => state === "put off");
        if (late !== undefined && pick % 3 === 0) {
          late.state = "waiting";
          queueOf(late).resume(late);
        }
        const running = all.filter(({ state }) => state === "running");
        const task = running[pick % Math.max(1, running.length)];
        if (task === undefined) continue;
        task.state = putOff ? "put off" : "over";
        if (putOff) queueOf(task).putOff(task);
        else queueOf(task).finished(task);
      }
      for (let left = 3 * all.length; left > 0; left -= 1) {
        for (const task of all) {
          const { state } = task;
          if (state === "put off") {
            task.state = "waiting";
            queueOf(task).resume(task);
          } else if (state === "running") {
            task.state = "over";
            queueOf(task).finished(task);
          }
        }
      }
      expect(all.filter(({ state }) => state !== "over")).toEqual([]);
    }),
  );
}

test("[Q4][I21] lanes of a partition share its places and keys, and the urgent one goes first", () => {
  check((gate, priority) => gate.lane(priority));
});

test("the check sees lanes that know nothing of each other, and a gate that lets the least urgent go first", () => {
  expect(() => check(() => undefined)).toThrow();
  expect(() => check((gate, priority) => gate.lane(-priority))).toThrow();
});

test("[Q4] a lane that is paused or closed holds up no other", async () => {
  const begun: string[] = [];
  const gate = new LaneGate(1);
  const [low, high] = [0, 1].map(
    (priority) => new KeyedQueue<{ key: string; name: string }>(1, ({ name }) => begun.push(name), gate.lane(priority)),
  );
  const task = (name: string) => ({ key: "k", name });
  const [first, second, third] = [task("high 1"), task("low 1"), task("low 2")];
  high?.add(first);
  high?.add(task("high 2"));
  low?.add(second);
  low?.add(third);
  high?.hold();
  high?.finished(first);
  expect(begun).toEqual(["high 1", "low 1"]);
  low?.finished(second);
  expect(begun).toEqual(["high 1", "low 1", "low 2"]);
  high?.letGo();
  low?.putOff(third);
  expect(begun.at(-1)).toBe("high 2");
  // It never says that it is done, because its owner has stopped.
  low?.resume(third);
  high?.stop();
  await Promise.resolve();
  expect(begun).toEqual(["high 1", "low 1", "low 2", "high 2", "low 2"]);
});

test("[Q4][U4] lanes have the places of their hours, all together: fewer at once as soon as they say so", () => {
  const gate = new LaneGate(4);
  const running: Task[] = [];
  const queues = [0, 1].map((lane) => new KeyedQueue<Task>(4, (task) => void running.push(task), gate.lane(lane)));
  const [low, high] = queues as [KeyedQueue<Task>, KeyedQueue<Task>];
  // As each lane's partition is told.
  for (const queue of queues) queue.limitTo(2);
  const task = (lane: number, number: number): Task => ({ key: null, lane, number, state: "waiting" });
  for (let number = 0; number < 4; number += 1) low.add(task(0, number));
  high.add(task(1, 4));
  expect(running.map(({ number }) => number)).toEqual([0, 1]);
  low.finished(running[0] as Task);
  expect(running.map(({ number }) => number)).toEqual([0, 1, 4]);
  for (const queue of queues) queue.limitTo(4);
  expect(running.map(({ number }) => number)).toEqual([0, 1, 4, 2, 3]);
});
