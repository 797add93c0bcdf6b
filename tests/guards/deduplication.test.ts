import { expect, setDefaultTimeout, test } from "bun:test";
import { forgetExpired } from "@sluice/broker";
import { eventually, startProxy } from "@sluice/testkit";
import postgres from "postgres";
import type { SendResult, Topic } from "sluice";
import { during, killBackends, openRig, type Rig, readTopic } from "../invariants/rig.ts";
import { guardedTopic, meet, notOnce, plantNoLock } from "./guard-checks.ts";

setDefaultTimeout(25_000);

const fiveMinutes = { deduplicate: { window: "5m", by: (value: string) => value } } as const;

/** Sixty-four senders over eight pools that all send the same values, one by one and in batches, each in another order. */
async function sendAllAtOnce(rig: Rig, to: Topic<string>, count: number, onReady: () => void) {
  const values = Array.from({ length: count }, (_, index) => `value ${index}`);
  const answers: { value: string; result: SendResult }[] = [];
  const producers = await Promise.all(Array.from({ length: 8 }, () => rig.producer()));
  await Promise.all(producers.map((producer) => producer.openTopic(to)));
  onReady();
  const lane = async (number: number) => {
    const producer = producers[number % producers.length];
    if (producer === undefined) return;
    const mine = values.map((_, index) => values[(index * 7 + number * 5) % count] as string);
    if (number % 4 === 0) {
      const results = await producer.sendBatch(to, mine);
      for (const [index, result] of results.entries()) answers.push({ value: mine[index] as string, result });
      return;
    }
    for (const value of mine) answers.push({ value, result: await producer.send(to, value) });
  };
  await Promise.all(Array.from({ length: 64 }, (_, number) => lane(number)));
  return answers;
}

test("[Q10] sixty-four senders of the same messages get one appended and all the same place, also while connections are killed", async () => {
  await using rig = await openRig();
  const { topic } = await guardedTopic(rig, "letters", 4, fiveMinutes);
  let killed = 0;
  let ready = false;
  const sending = sendAllAtOnce(rig, topic, 20, () => {
    ready = true;
  });
  const answers = await during(sending, async () => {
    if (ready && killed < 12) killed += await killBackends(rig.sql, "producer");
    await rig.sql`select 1`;
  });
  expect(killed).toBeGreaterThan(0);
  expect(answers).toHaveLength(64 * 20);
  expect(notOnce(answers, await readTopic(rig.sql, "letters"))).toEqual([]);
});

test("[Q10] an id that another is just appending waits for its outcome; the check sees one that looks before it locks", async () => {
  await using rig = await openRig();
  const { number } = await guardedTopic(rig, "letters", 2, fiveMinutes);
  const message = (partition: number, id: string) => ({ p: partition, u: 0, i: id, k: null, v: id, a: { id } });
  expect(await meet(rig, number, [message(0, "x"), message(1, "x")])).toEqual(["a:0:0:x", "d:0:0:x"]);
  await plantNoLock(rig);
  const [, second] = await meet(rig, number, [message(0, "y"), message(1, "y")]);
  expect(second).toBe("a:1:0:y");
  expect(await readTopic(rig.sql, "letters")).toHaveLength(3);
});

test("[Q10][I8] a send whose answer was lost is repeated and hears what the first try did, after a roll too", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 3, fiveMinutes);
  const proxy = rig.use(await startProxy(rig.url));
  const straight = await rig.producer();
  await straight.send(topic, "known");
  const producer = await rig.producer({ url: proxy.url });
  await producer.send(topic, "warm");
  const lost = proxy.swallowAnswer((statement) => statement.includes("append_guarded"));
  const sending = producer.sendBatch(topic, ["a", "known", "b", "a"]);
  await lost;
  await rig.sql`select sluice.roll_segment(${number})`;
  const results = await sending;
  expect(results.map(({ status }) => status)).toEqual(["appended", "duplicate", "appended", "duplicate"]);
  const log = await readTopic(rig.sql, "letters");
  expect(log.map(({ value }) => value).sort()).toEqual(["a", "b", "known", "warm"]);
  for (const { partition, offset } of results) {
    expect(log.filter((entry) => entry.partition === partition && entry.offset === offset)).toHaveLength(1);
  }
});

test("[Q10][I23] with a transaction held open no row is updated or deleted by sends with ids", async () => {
  await using rig = await openRig();
  const { topic } = await guardedTopic(rig, "letters", 2, fiveMinutes);
  const holder = postgres(rig.url, { max: 1 });
  await holder.unsafe("begin");
  await holder`select pg_current_xact_id(), count(*) from sluice.deduplication`;
  const producer = await rig.producer();
  for (let round = 0; round < 3; round += 1) {
    await producer.sendBatch(
      topic,
      Array.from({ length: 50 }, (_, index) => `value ${index + round * 25}`),
    );
  }
  // A server process reports what it counted at the latest when it ends.
  await killBackends(rig.sql, "producer");
  const counted = await eventually("the server's count has arrived", async () => {
    const [row] = await rig.sql<{ inserted: number; dead: number }[]>`
      select sum(n_tup_ins) filter (where relname = 'deduplication')::integer as inserted, sum(n_tup_upd + n_tup_del)::integer as dead
      from pg_stat_user_tables where relname in ('deduplication', 'guarded_append', 'guard') or schemaname = 'sluice_log'`;
    return row !== undefined && row.inserted > 0 && row;
  }).finally(() => holder.end({ timeout: 0 }));
  expect({ ...counted }).toEqual({ inserted: 100, dead: 0 });
});

test("[R11][Q10] what has expired is forgotten in steps, and nothing else", async () => {
  await using rig = await openRig();
  await rig.sql.unsafe(`
    insert into sluice.deduplication select 1, 'id ' || n, 0, n, 'x', now() + case when n > 12000 then interval '1 minute' else '-1 second' end
      from generate_series(1, 12010) n;
    insert into sluice.idempotence select 'group', 'key ' || n, now() + case when n > 5000 then interval '1 minute' else '-1 second' end
      from generate_series(1, 5003) n;
    insert into sluice.guarded_append values (1, 1, 'a', now() - interval '1 second'), (1, 2, 'a', now() + interval '1 minute')`);
  await forgetExpired(rig.pool());
  const [left] = await rig.sql`select (select count(*) from sluice.deduplication)::int as ids,
    (select count(*) from sluice.idempotence)::int as keys, (select count(*) from sluice.guarded_append)::int as answers`;
  expect({ ...left }).toEqual({ ids: 10, keys: 3, answers: 1 });
});
