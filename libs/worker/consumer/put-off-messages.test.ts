import { expect, test } from "bun:test";
import { Groups, type OwnedPosition, Retries } from "@sluice/broker";
import { consumer, topic } from "@sluice/contract";
import { silentLogger, systemClock } from "@sluice/kernel";
import { openTopic } from "@sluice/log";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { z } from "zod";
import { GatheredRetries } from "./gathered-retries.ts";
import { LentPlaces } from "./lent-places.ts";
import { PutOffMessages } from "./put-off-messages.ts";
import { RetryKeeper } from "./retry-keeper.ts";
import type { Task } from "./task.ts";

async function open() {
  const database = await testDatabase();
  const pool = new Pool(database.url, { connections: 2, applicationName: "test" });
  const groups = new Groups(pool);
  const jobs = topic("jobs", { schema: z.string(), partitions: 1 });
  const entry = await openTopic(pool, jobs, { create: true });
  const group = await groups.join("workers", entry.number, "earliest");
  const position = (await groups.survey([group])).positions[0]?.position ?? 0;
  const owner: OwnedPosition = { position, epoch: (await groups.take(position, 1)).epoch };
  const gathered = new GatheredRetries(new Retries(pool));
  const abort = new AbortController();
  const { signal } = abort;
  const declared = consumer(jobs, { group: "workers", mode: "keyed", concurrency: 2, handler: () => undefined });
  const keeper = new RetryKeeper({ gathered, owner, logger: silentLogger, clock: systemClock, signal });
  const messages = new PutOffMessages(keeper);
  return {
    messages,
    abort,
    places: new LentPlaces(messages, declared, signal),
    /** What the rows say, by offset: the attempts that count, and whether one is being made. */
    async rows() {
      const rows = await pool.query<{ offset: string; attempt: number; in_hand: boolean; error: string }>(
        "looking at retries",
        `select "offset", attempt, due is null as in_hand, error from sluice.retry order by "offset"`,
      );
      return rows.map(({ offset, attempt, in_hand, error }) => `${offset}: ${attempt} ${in_hand ? "in hand" : error}`);
    },
    /** Puts a message off, as a partition does whose handler has failed. */
    async putOff(offset: number, headers: Readonly<Record<string, string>>): Promise<Task> {
      const message = {
        offset,
        id: `m-${offset}`,
        key: null,
        value: JSON.stringify(`value ${offset}`),
        headers,
        timestamp: 1_700_000_000_000,
        appendedAtMs: 1_700_000_000_500,
        timeToLiveMs: 60_000,
      };
      const rest = {
        isFirst: true,
        attempt: 1,
        delayMs: 0,
        blocks: "nothing",
        error: "Error: no",
        mayBeDone: true,
      } as const;
      expect(await keeper.putOff({ ...message, ...rest })).toBe("put off");
      const task: Task = {
        key: null,
        offset,
        characters: 0,
        record: undefined,
        attempt: 1,
        isPutOff: false,
        isAlone: true,
      };
      messages.add(task, { message, attempt: 1, error: "Error: no" });
      return task;
    },
    async [Symbol.asyncDispose]() {
      await pool.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

const large = { at: "x".repeat(5 * 1_048_576) };

test("[R5] a message is the same whether it stayed in memory or is read again, and its attempt is counted in both cases", async () => {
  await using opened = await open();
  const { messages } = opened;
  const [kept, dropped] = [await opened.putOff(1, large), await opened.putOff(2, large)];
  expect([kept, dropped].map(({ putOff }) => putOff !== undefined)).toEqual([true, false]);
  expect(await Promise.all([messages.begin(kept), messages.begin(dropped)])).toEqual([undefined, undefined]);
  for (const { offset, attempt, record } of [kept, dropped]) {
    expect(attempt).toBe(2);
    const { appendedAtMs, values, attributes } = record?.batch ?? {};
    expect({ appendedAtMs, values }).toEqual({ appendedAtMs: 1_700_000_000_500, values: [`value ${offset}`] });
    expect(attributes).toEqual([
      { id: `m-${offset}`, headers: large, timestamp: 1_700_000_000_000, timeToLive: 60_000 },
    ]);
  }
});

test("a message that is over makes room in memory, and one that is done already is not handed over", async () => {
  await using opened = await open();
  const { messages } = opened;
  const first = await opened.putOff(1, large);
  expect(await messages.end(first)).toBe("over");
  const second = await opened.putOff(2, large);
  expect(second.putOff).toBeDefined();
  expect(messages.count).toBe(1);
  expect(await messages.begin(first)).toEqual({ kind: "done" });
  expect(await messages.end(second)).toBe("over");
  messages.add(second, undefined);
  expect(await messages.begin(second)).toEqual({ kind: "done" });
});

test("[R5] a place is lent while an attempt is counted, where handlers are quick, and not more places than there are", async () => {
  await using opened = await open();
  const { places } = opened;
  const tasks = [await opened.putOff(1, {}), await opened.putOff(2, {})] as const;
  expect(places.mayLend).toBe(false);
  places.took(1);
  expect(places.mayLend).toBe(true);
  const counting = places.countAside(tasks[0]);
  expect(places.mayLend).toBe(true);
  const both = Promise.all([counting, places.countAside(tasks[1])]);
  expect(places.mayLend).toBe(false);
  expect(await both).toEqual([undefined, undefined]);
  expect(places.mayLend).toBe(false);
  places.begun(tasks[0]);
  expect(places.mayLend).toBe(true);
  places.took(1_000);
  expect(places.mayLend).toBe(false);
  expect(await opened.rows()).toEqual(["1: 2 in hand", "2: 2 in hand"]);
});

test("[R5] what was counted and has no place at the end is given back, and what is counted afterwards, too", async () => {
  await using opened = await open();
  const { places } = opened;
  const tasks = [await opened.putOff(1, {}), await opened.putOff(2, large), await opened.putOff(3, {})] as const;
  for (const task of tasks.slice(0, 2)) expect(await places.countAside(task)).toBe(undefined);
  places.begun(tasks[0]);
  const late = places.countAside(tasks[2]);
  await Promise.all(places.stop().map((work) => work()));
  expect(await late).toBe("given back");
  expect(await opened.rows()).toEqual(["1: 2 in hand", "2: 1 Error: no", "3: 1 Error: no"]);
});

test("[R5] where the partition is another's, nothing is given back: its owner counts", async () => {
  await using opened = await open();
  const { places, abort } = opened;
  expect(await places.countAside(await opened.putOff(1, {}))).toBe(undefined);
  abort.abort();
  expect(places.stop()).toEqual([]);
  expect(await opened.rows()).toEqual(["1: 2 in hand"]);
});
