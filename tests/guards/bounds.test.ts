import { expect, setDefaultTimeout, test } from "bun:test";
import { refreshDepths } from "@sluice/broker";
import { consumer } from "@sluice/contract";
import { isSluiceError } from "@sluice/kernel";
import { openTopic, PostgresLog } from "@sluice/log";
import { eventually, startProxy } from "@sluice/testkit";
import postgres from "postgres";
import { lagOf } from "../invariants/recording-groups.ts";
import { during, killBackends, openRig, readTopic } from "../invariants/rig.ts";
import { guardedTopic, meet, plantNoLock } from "./guard-checks.ts";

setDefaultTimeout(25_000);

async function depthOf(sql: postgres.Sql, number: number): Promise<number> {
  const [row] = await sql<{ depth: number }[]>`select sluice.depth(${number})::integer as depth`;
  return row?.depth ?? -1;
}

test("[Q3] of sixty-four senders at once exactly as many messages get in as there is room for, batches whole", async () => {
  await using rig = await openRig();
  const { topic } = await guardedTopic(rig, "letters", 4, { maxDepth: 101 });
  const producers = await Promise.all(Array.from({ length: 8 }, () => rig.producer()));
  let [accepted, refused] = [0, 0];
  const other: unknown[] = [];
  const lane = async (number: number) => {
    const producer = producers[number % 8];
    for (let index = 0; index < 6; index += 1) {
      const values = Array.from({ length: number % 3 === 0 ? 7 : 1 }, (_, part) => `${number}-${index}-${part}`);
      try {
        const results = await producer?.sendBatch(topic, values);
        accepted += results?.length ?? 0;
      } catch (error) {
        if (!isSluiceError(error, "QUEUE_FULL")) other.push(error);
        refused += values.length;
      }
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, number) => lane(number)));
  expect(other).toEqual([]);
  // Lone messages came until the end, so no room was left.
  expect(accepted).toBe(101);
  expect(refused).toBeGreaterThan(101);
  const log = await readTopic(rig.sql, "letters");
  expect(log).toHaveLength(101);
  const batches = new Map<string, number>();
  for (const { value } of log) {
    const batch = value.slice(0, value.lastIndexOf("-"));
    batches.set(batch, (batches.get(batch) ?? 0) + 1);
  }
  const sizes = [...batches].map(([batch, size]) => size - (Number(batch.split("-")[0]) % 3 === 0 ? 7 : 1));
  expect(sizes.every((missing) => missing === 0)).toBe(true);
});

test("[U3][Q3] with consumers at work and connections killed there are never more than the bound, and none is lost", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 4, { maxDepth: 30 });
  const handled: string[] = [];
  const entry = await openTopic(rig.pool({ connections: 1 }), topic, { create: false });
  const reading = consumer(topic, {
    group: "readers",
    commitInterval: "10ms",
    handler: (c) => {
      handled.push(c.value);
    },
  });
  await rig.worker({ name: "reader", consumer: reading, entry });
  const producers = await Promise.all(Array.from({ length: 4 }, () => rig.producer()));
  await Promise.all(producers.map((producer) => producer.openTopic(topic)));
  const accepted: string[] = [];
  let refusals = 0;
  const lane = async (sender: number) => {
    for (let index = 0; index < 12; ) {
      const value = `${sender}-${index}`;
      try {
        await producers[sender % 4]?.send(topic, value);
        accepted.push(value);
        index += 1;
      } catch (error) {
        if (!isSluiceError(error, "QUEUE_FULL")) throw error;
        refusals += 1;
      }
    }
  };
  let [deepest, killed] = [0, 0];
  const sending = Promise.all(Array.from({ length: 32 }, (_, sender) => lane(sender)));
  await during(sending, async () => {
    if (killed < 4) killed += await killBackends(rig.sql, "producer");
    deepest = Math.max(deepest, await depthOf(rig.sql, number));
  });
  await eventually("the group is at the end", async () => (await lagOf(rig.sql, "readers")) === 0);
  expect(deepest).toBeLessThanOrEqual(30);
  expect(refusals).toBeGreaterThan(0);
  expect(killed).toBeGreaterThan(0);
  expect(accepted).toHaveLength(32 * 12);
  expect([...handled].sort()).toEqual([...accepted].sort());
});

test("[Q3] the last place goes to one of two that meet; the check sees a depth that is read outside the lock", async () => {
  await using rig = await openRig();
  const { number } = await guardedTopic(rig, "letters", 2, { maxDepth: 1 });
  const message = (partition: number) => ({ p: partition, u: 0, k: null, v: "x", a: { id: `m${partition}` } });
  expect(await meet(rig, number, [message(0), message(1)])).toEqual(["a:0:0:m0", "f:0"]);
  expect(await depthOf(rig.sql, number)).toBe(1);
  await rig.sql`select sluice.guard_topic('letters', max_depth => 2)`;
  await plantNoLock(rig);
  expect(await meet(rig, number, [message(0), message(1)])).toEqual(["a:0:1:m0", "a:1:0:m1"]);
  expect(await depthOf(rig.sql, number)).toBe(3);
});

/** Messages that are not in exactly one place of the three where a committed one may be. */
async function misplaced(sql: postgres.Sql, committed: readonly string[]): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with place as (
      select 'o-' || outbox as id from sluice.outbox union all select message -> 'a' ->> 'id' from sluice.held
      union all select id from topics.letters),
    counted as (select id, count(*) as places from place group by id)
    select format('%s is in %s places', id, places) as sentence from counted where places > 1
    union all
    select format('%s is nowhere', c.id) from unnest(string_to_array(${committed.join(",")}, ',')) c(id)
    where c.id not in (select id from counted)`;
  return rows.map(({ sentence }) => sentence);
}

test("[Q3][I18] what transactions send to a full topic is in one place at any time, also while the relay is killed, and keeps its order", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 2, { maxDepth: 10 });
  const entry = await openTopic(rig.pool({ connections: 1 }), topic, { create: false });
  const handled = new Map<number, string[]>();
  const reading = consumer(topic, {
    group: "readers",
    commitInterval: "10ms",
    handler: (c) => {
      handled.set(c.partition, [...(handled.get(c.partition) ?? []), c.value]);
    },
  });
  await rig.worker({ name: "reader", consumer: reading, entry });
  const producer = await rig.producer();
  await producer.openTopic(topic);
  const committed: string[] = [];
  const send = async () => {
    for (let round = 0; round < 8; round += 1) {
      const values = Array.from({ length: 15 }, (_, index) => `${String(round).padStart(2, "0")}-${index + 10}`);
      const results = await rig.sql.begin((tx) => producer.sendBatch(topic, values, { tx, partition: round % 2 }));
      committed.push(...results.map(({ id }) => id));
    }
    await eventually("all are in the log and done", async () => {
      const [row] = await rig.sql`select count(*)::integer as messages from topics.letters`;
      return row?.["messages"] === 120 && (await lagOf(rig.sql, "readers")) === 0;
    });
  };
  const problems: string[] = [];
  let [deepest, killed] = [0, 0];
  await during(send(), async () => {
    if (killed < 6) killed += await killBackends(rig.sql, "reader pool");
    deepest = Math.max(deepest, await depthOf(rig.sql, number));
    problems.push(...(await misplaced(rig.sql, [...committed])));
  });
  expect(problems).toEqual([]);
  expect(killed).toBeGreaterThan(0);
  expect(deepest).toBeLessThanOrEqual(10);
  const log = await readTopic(rig.sql, "letters");
  for (const partition of [0, 1]) {
    const values = log.filter((stored) => stored.partition === partition).map(({ value }) => value);
    expect(values).toEqual([...values].sort());
    expect([...new Set(handled.get(partition))]).toEqual(values);
  }
});

test("[Q3] the relay asks for topics as the mover of delayed messages does: the earlier first, although the later holds messages back", async () => {
  await using rig = await openRig();
  const { number: earlier } = await guardedTopic(rig, "earlier", 1, { maxDepth: 100 });
  await guardedTopic(rig, "later", 1, { maxDepth: 1 });
  const [duties] = await rig.sql`select sluice.take_duty(1, 'test') as relay, sluice.take_duty(3, 'test') as delays`;
  const relay = (on: postgres.Sql) => on`select moved from sluice.relay(${duties?.["relay"]}, null, 100)`;
  await rig.sql`select sluice.send('later', to_json(n)) from generate_series(1, 3) n`;
  await relay(rig.sql);
  for (const name of ["earlier", "later"]) await rig.sql`select sluice.send(${name}, '"late"', delay => '0 seconds')`;
  await rig.sql`select sluice.send('earlier', '"new"')`;
  const [holder, first, second] = [0, 1, 2].map(() => postgres(rig.url, { max: 1, onnotice: () => undefined })) as [
    postgres.Sql,
    postgres.Sql,
    postgres.Sql,
  ];
  const waiting = (many: number) =>
    eventually(`${many} wait`, async () => {
      const rows = await rig.sql`select from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())`;
      return rows.length === many;
    });
  try {
    // Somebody appends to the earlier topic; the mover waits for it, and then the relay does.
    await holder`begin`;
    await holder`select pg_advisory_xact_lock(1936487693, ${earlier})`;
    const moving = first`select moved from sluice.move_delayed(${duties?.["delays"]}, null, 100, 1000000)`;
    const moved = moving.then(
      ([row]) => row?.["moved"],
      (error: unknown) => (error as { code?: string }).code,
    );
    await waiting(1);
    const relayed = relay(second).then(
      ([row]) => row?.["moved"],
      (error: unknown) => (error as { code?: string }).code,
    );
    await waiting(2);
    await holder`commit`;
    expect([await moved, await relayed]).toEqual([2, 1]);
  } finally {
    for (const connection of [holder, first, second]) await connection.end({ timeout: 0 });
  }
});

test("[Q3][I8] a send whose answer was lost and that filled the topic is repeated and is not refused", async () => {
  await using rig = await openRig();
  const { topic } = await guardedTopic(rig, "letters", 2, { maxDepth: 2 });
  const proxy = rig.use(await startProxy(rig.url));
  const producer = await rig.producer({ url: proxy.url });
  await producer.send(topic, "first");
  const lost = proxy.swallowAnswer((statement) => statement.includes("append_guarded"));
  const last = producer.send(topic, "last");
  await lost;
  expect((await last).status).toBe("appended");
  await expect(producer.send(topic, "beyond")).rejects.toThrow("may hold 2 messages and has room for 0");
  expect((await readTopic(rig.sql, "letters")).map(({ value }) => value).sort()).toEqual(["first", "last"]);
});

test("[Q3] the depth counts what the slowest group has not done, rolled and dropped segments and all", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 2, { maxDepth: 100 });
  const producer = await rig.producer();
  await producer.sendBatch(topic, ["a", "b", "c"], { partition: 0 });
  await rig.sql`select sluice.roll_segment(${number})`;
  expect(await depthOf(rig.sql, number)).toBe(3);
  await producer.sendBatch(topic, ["d", "e"], { partition: 1 });
  expect(await depthOf(rig.sql, number)).toBe(5);
  await refreshDepths(rig.pool());
  expect(await depthOf(rig.sql, number)).toBe(5);
  await rig.sql`insert into sluice.consumer_group (name) values ('slow'), ('fast')`;
  await rig.sql`select sluice.ensure_positions("group", ${number}, 'earliest') from sluice.consumer_group`;
  await rig.sql`update sluice.position set next_offset = 2 where "group" = 1`;
  await rig.sql`update sluice.position set next_offset = 3 where "group" = 2 and partition = 0`;
  expect(await depthOf(rig.sql, number)).toBe(1 + 2);
  await rig.sql`delete from sluice.segment where topic = ${number} and segment = 0`;
  expect(await depthOf(rig.sql, number)).toBe(2);
});

test("[Q3][I2] a send that was told there is no room never enters, also when its first try comes after its repeat", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 1, { maxDepth: 1 });
  const log = new PostgresLog(rig.pool());
  const entry = await openTopic(rig.pool({ connections: 1 }), topic, { create: false });
  const attempt = async (sequence: number, value: string, isRepeat: boolean) => {
    const record = {
      partition: 0,
      unit: 0,
      messageId: null,
      key: null,
      value: JSON.stringify(value),
      attributes: null,
    };
    const call = { topic: entry, records: [record], producer: 7, sequence, acks: "all", ring: null } as const;
    const answers = await log.appendGuarded({ ...call, isRepeat, deadlineMs: 5_000 });
    return answers.map(({ status }) => status);
  };
  const stored = async () => (await readTopic(rig.sql, "letters")).map(({ value }) => value);

  expect(await attempt(0, "fills it", false)).toEqual(["appended"]);
  expect(await attempt(1, "late", true)).toEqual(["full"]);
  await rig.sql`select sluice.guard_topic('letters', max_depth => 10)`;
  expect(await attempt(1, "late", false)).toEqual(["full"]);
  expect(await stored()).toEqual(["fills it"]);

  // Where a repeat's refusal is kept nowhere, the check sees what was refused.
  await rig.sql`select sluice.guard_topic('letters', max_depth => 1)`;
  expect(await attempt(2, "too late", false)).toEqual(["full"]);
  await rig.sql`select sluice.guard_topic('letters', max_depth => 10)`;
  expect(await attempt(2, "too late", false)).toEqual(["appended"]);
  expect(await stored()).toEqual(["fills it", "too late"]);
  expect(await depthOf(rig.sql, number)).toBe(2);
});
