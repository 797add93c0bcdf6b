import { expect, setDefaultTimeout } from "bun:test";
import { topic as declareTopic } from "@sluice/contract";
import { openTopic, PostgresLog } from "@sluice/log";
import { Pool } from "@sluice/store";
import { eventually, startPgbouncer, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { app, consumer, silentLogger, topic } from "sluice";
import { z } from "zod";
import { poolerTest } from "./pooled.ts";
import { shortLease } from "./short-lease.ts";

setDefaultTimeout(60_000);

const letters = topic("letters", { schema: z.string(), partitions: 2 });
const prices = topic("prices", { schema: z.string(), replies: z.number() });

for (const [kind, isPastIt] of [
  ["without a session", false],
  ["with a sessionUrl past it", true],
] as const) {
  poolerTest(`in transaction mode ${kind} everything is sent, found, answered and recalled`, async () => {
    await using database = await testDatabase();
    // Fewer server connections than Sluice has: transactions share them.
    await using pooler = await startPgbouncer(database.url, { mode: "transaction", poolSize: 8, inTurn: true });
    const handled: string[] = [];
    const shared: string[] = [];
    const consumers = [
      consumer(letters, {
        group: "readers",
        handler: async (c) => {
          handled.push(c.value);
        },
      }),
      consumer(letters, {
        group: "sharers",
        mode: "shared",
        handler: async (c) => {
          shared.push(c.value);
        },
      }),
      consumer(prices, {
        group: "pricers",
        handler: (c) => {
          c.reply(c.value.length);
        },
      }),
    ];
    await using running = await app({ name: "all", consumers, ...shortLease }).start({
      url: pooler.url,
      ...(isPastIt ? { sessionUrl: database.url } : {}),
      logger: silentLogger,
    });
    const { sluice } = running;
    await sluice.send(letters, "one");
    await sluice.sendBatch(letters, ["two", "three"]);
    const client = postgres(pooler.url, { max: 1, prepare: false });
    await client.begin(async (tx) => {
      await sluice.send(letters, "by the outbox", { tx });
      await sluice.send(letters, "later by the outbox", { tx, delay: "100ms" });
    });
    await client.end();
    await sluice.send(letters, "later", { delay: "200ms" });
    const { id } = await sluice.send(letters, "never", { delay: "1h" });
    expect(await sluice.recall(id)).toBe(true);
    expect(await sluice.request(prices, "four", { timeout: "20s" })).toBe(4);
    const expected = ["by the outbox", "later", "later by the outbox", "one", "three", "two"];
    await eventually("everything is handled", () => handled.length >= 6 && shared.length >= 6);
    expect([handled.toSorted(), shared.toSorted()]).toEqual([expected, expected]);
    await using sql = await directly(database.url);
    const [member] = await sql.client`select live, backend_pid is null as leased from sluice.members`;
    expect(member).toEqual({ live: true, leased: !isPastIt });
    const held = await sql.client`select from sluice.leaders where held`;
    expect(held.length).toBe(4);
    expect(await leftLocks(sql.client)).toEqual([]);
  });
}

async function directly(url: string) {
  const client = postgres(url, { max: 1, fetch_types: false });
  return { client, [Symbol.asyncDispose]: () => client.end() };
}

/** Session locks of Sluice that are left on server connections of the pooler, where nobody could ever free them. */
async function leftLocks(sql: postgres.Sql): Promise<readonly unknown[]> {
  return await sql`
    select l.classid from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and a.state = 'idle' and a.application_name not like 'sluice all%'
      and l.database = (select oid from pg_database where datname = current_database())`;
}

poolerTest(
  "in transaction mode every statement is answered, however many are asked at once on few connections",
  async () => {
    await using database = await testDatabase();
    await using pooler = await startPgbouncer(database.url, { mode: "transaction", poolSize: 2 });
    const pools = ["one", "two"].map(
      (applicationName) =>
        new Pool(pooler.url, { connections: 2, applicationName, isPooled: true, deadlineMs: 15_000 }),
    );
    try {
      // Those without parameters are sent in one step, those with them in two.
      const asked = Array.from({ length: 400 }, (_, index) => {
        const pool = pools[index % 2] as Pool;
        return index % 3 === 0
          ? pool.query<{ number: number }>("asking", `select ${index} as number`)
          : pool.query<{ number: number }>("asking", "select $1::integer as number", [index]);
      });
      const answered = (await Promise.all(asked)).map((rows) => rows[0]?.number);
      expect(answered).toEqual(asked.map((_, index) => index));
    } finally {
      await Promise.all(pools.map((pool) => pool.close()));
    }
  },
);

poolerTest("in transaction mode old segments are dropped, and nothing of a session stays behind", async () => {
  await using database = await testDatabase();
  await using pooler = await startPgbouncer(database.url, { mode: "transaction" });
  const pool = new Pool(pooler.url, { connections: 3, applicationName: "test", isPooled: true });
  try {
    const declared = declareTopic("numbers", {
      schema: z.number(),
      retention: { time: "1ms" },
      segment: { time: "1ms" },
    });
    const entry = await openTopic(pool, declared, { create: true });
    const log = new PostgresLog(pool);
    for (const sequence of [0, 1]) {
      await log.append({
        topic: entry,
        entries: [{ partition: 0, count: 1, keys: null, records: `[${sequence}]`, attributes: null }],
        producer: 1,
        sequence,
        repeat: false,
        after: null,
        acks: "all",
        ring: null,
        deadlineMs: 10_000,
      });
      expect(await log.trim(entry)).toEqual({ rolled: true, dropped: sequence === 0 ? [] : [0] });
    }
    await using sql = await directly(database.url);
    const tables = await sql.client`select from pg_class where relname = ${`topic_${entry.number}_segment_0`}`;
    expect(tables.length).toBe(0);
    const settings = await pool.query<{ timeout: string }>(
      "asking",
      "select current_setting('lock_timeout') as timeout",
    );
    expect(settings).toEqual([{ timeout: "0" }]);
  } finally {
    await pool.close();
  }
});
