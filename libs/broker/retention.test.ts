import { expect, test } from "bun:test";
import { topic } from "@sluice/contract";
import { silentLogger } from "@sluice/kernel";
import { openTopic, PostgresLog, type TopicEntry } from "@sluice/log";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { z } from "zod";
import { Groups, registerConsumer, trimTopics } from "./index.ts";

type Retention = NonNullable<Parameters<typeof topic>[1]["retention"]>;

/** A topic of one partition whose segments are closed by every round, and groups that are moved by hand. */
async function open(retention: Retention) {
  const database = await testDatabase();
  const pool = new Pool(database.url, { connections: 3, applicationName: "test" });
  const log = new PostgresLog(pool);
  const groups = new Groups(pool);
  const declared = topic("jobs", { schema: z.number(), partitions: 1, retention, segment: { time: "1ms" } });
  const entry = await openTopic(pool, declared, { create: true });
  let sent = 0;
  const rows = async (statement: string) => await pool.query<{ count: number }>("counting", statement);
  return {
    pool,
    entry,
    /** Appends two messages. */
    async append(): Promise<void> {
      await log.append(appendOf(entry, sent));
      sent += 2;
    },
    trim: () => trimTopics(pool, log, silentLogger),
    /** Makes a group, beginning at the start. */
    async join(name: string, isProtected = false): Promise<void> {
      await registerConsumer(pool, { group: name, topic: entry, mode: "assigned", isProtected });
      await groups.join(name, entry.number, "earliest");
    },
    async moveTo(name: string, offset: number): Promise<void> {
      const number = await groups.join(name, entry.number, "earliest");
      const { positions } = await groups.survey([number]);
      const position = positions[0]?.position ?? -1;
      const { epoch } = await groups.take(position, 1);
      await groups.commit([{ position, epoch, nextOffset: offset, doneAbove: [] }]);
    },
    /** The messages that are still in the topic's tables. */
    async left(): Promise<number> {
      const [row] = await rows(
        `select coalesce(sum(count), 0)::integer as count from sluice_log.topic_${entry.number}`,
      );
      return row?.count ?? -1;
    },
    async [Symbol.asyncDispose]() {
      await pool.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

function appendOf(entry: TopicEntry, sequence: number) {
  return {
    topic: entry,
    entries: [{ partition: 0, count: 2, keys: null, records: `[${sequence},${sequence + 1}]`, attributes: null }],
    producer: 1,
    sequence,
    repeat: false,
    after: null,
    acks: "all" as const,
    ring: null,
    deadlineMs: 10_000,
  };
}

test("[M1] what is in a queue is kept until a group appears, and goes from the log's tables when every group is done with it", async () => {
  await using queue = await open({ consumed: true });
  await queue.append();
  await queue.trim();
  await queue.append();
  await queue.trim();
  await queue.trim();
  expect(await queue.left()).toBe(4);
  await queue.join("first");
  await queue.join("second");
  await queue.moveTo("first", 4);
  await queue.trim();
  expect(await queue.left()).toBe(4);
  await queue.moveTo("second", 3);
  await queue.trim();
  expect(await queue.left()).toBe(2);
  await queue.moveTo("second", 4);
  await queue.trim();
  expect(await queue.left()).toBe(0);
  await queue.append();
  const [row] = await queue.pool.query<{ end: string }>("looking", "select end_offset as end from sluice.partitions");
  expect(row?.end).toBe("6");
});

test("[M1] a message of a queue that waits for another attempt keeps its segment", async () => {
  await using queue = await open({ consumed: true });
  await queue.append();
  await queue.trim();
  await queue.append();
  await queue.trim();
  await queue.join("first");
  await queue.moveTo("first", 4);
  await queue.pool.query(
    "putting off",
    `insert into sluice.shared_retry (position, "offset", attempt, due) select position, 3, 1, 'infinity' from sluice.position`,
  );
  await queue.trim();
  expect(await queue.left()).toBe(2);
});

test("[M1] time bounds a queue that nobody reads", async () => {
  await using queue = await open({ consumed: true, time: "1ms" });
  await queue.append();
  await queue.trim();
  await queue.trim();
  expect(await queue.left()).toBe(0);
});

test("a queue that is not worked off rolls less and less often", async () => {
  await using queue = await open({ consumed: true });
  await queue.pool.query("slowing down", "update sluice.topic set segment_ms = 3600000");
  const age = (hours: number) =>
    queue.pool.query("ageing", `update sluice.segment set created_at = clock_timestamp() - interval '${hours} hours'`);
  const segments = async () => (await queue.pool.query("counting", "select from sluice.segment")).length;
  await queue.append();
  await age(1.5);
  await queue.trim();
  expect(await segments()).toBe(2);
  await queue.append();
  await age(1.5);
  await queue.trim();
  expect(await segments()).toBe(2);
  await age(2.5);
  await queue.trim();
  expect(await segments()).toBe(3);
});
