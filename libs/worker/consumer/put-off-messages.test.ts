import { expect, test } from "bun:test";
import { Groups, type OwnedPosition, Retries } from "@sluice/broker";
import { topic } from "@sluice/contract";
import { silentLogger, systemClock } from "@sluice/kernel";
import { openTopic } from "@sluice/log";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { z } from "zod";
import { GatheredRetries } from "./gathered-retries.ts";
import { PutOffMessages } from "./put-off-messages.ts";
import { RetryKeeper } from "./retry-keeper.ts";
import type { Task } from "./task.ts";

async function open() {
  const database = await testDatabase();
  const pool = new Pool(database.url, { connections: 2, applicationName: "test" });
  const groups = new Groups(pool);
  const entry = await openTopic(pool, topic("jobs", { schema: z.string(), partitions: 1 }), { create: true });
  const group = await groups.join("workers", entry.number, "earliest");
  const position = (await groups.survey([group])).positions[0]?.position ?? 0;
  const owner: OwnedPosition = { position, epoch: (await groups.take(position, 1)).epoch };
  const gathered = new GatheredRetries(new Retries(pool));
  const { signal } = new AbortController();
  const keeper = new RetryKeeper({ gathered, owner, logger: silentLogger, clock: systemClock, signal });
  const messages = new PutOffMessages(keeper);
  return {
    messages,
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
      const rest = { isFirst: true, attempt: 1, delayMs: 0, blocks: "nothing", error: "Error: no" } as const;
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
      messages.add(task, { message, attempt: 1 });
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
