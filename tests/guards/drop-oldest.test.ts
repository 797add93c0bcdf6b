import { expect, setDefaultTimeout, test } from "bun:test";
import { forgetMarks } from "@sluice/broker";
import { consumer, fixed } from "@sluice/contract";
import { silentLogger } from "@sluice/kernel";
import { openTopic } from "@sluice/log";
import { eventually } from "@sluice/testkit";
import type { Producer } from "@sluice/worker";
import { sql as text } from "drizzle-orm";
import type postgres from "postgres";
import { app } from "sluice";
import { lagOf } from "../invariants/recording-groups.ts";
import { during, killBackends, openRig, plant, type Rig, readTopic } from "../invariants/rig.ts";
import { guardedTopic, meet, plantNoLock } from "./guard-checks.ts";

setDefaultTimeout(40_000);

type Letters = Awaited<ReturnType<typeof guardedTopic>>["topic"];

const overflow = "drop-oldest" as const;

async function guardOf(sql: postgres.Sql): Promise<{ depth: number; dropped: number }> {
  const [row] = await sql<{ depth: number; dropped: number }[]>`
    select depth::integer as depth, dropped::integer as dropped from sluice.guards where topic = 'letters'`;
  return row ?? { depth: -1, dropped: -1 };
}

/**
 * What is wrong with what was dropped, in one snapshot: more waits than may, something was dropped although there was room, or a
 * message that waits is older than one that was dropped. For a topic without groups.
 */
async function wrongDrops(sql: postgres.Sql, bound: number): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with message as (
      select m.partition, m."offset", m.appended_at, coalesce(m."offset" < d.below, false) as dropped
      from topics.letters m
      left join (select partition, max(below) as below from sluice.drop_mark group by partition) d using (partition)),
    counted as (select count(*) filter (where not dropped) as waiting, count(*) filter (where dropped) as dropped,
      max(appended_at) filter (where dropped) as newest_dropped, min(appended_at) filter (where not dropped) as oldest from message)
    select format('%s wait', waiting) as sentence from counted where waiting > ${bound}
    union all select format('%s were dropped and only %s wait', dropped, waiting) from counted where dropped > 0 and waiting < ${bound}
    union all select format('%s was dropped, %s waits', newest_dropped, oldest) from counted where newest_dropped > oldest
    union all select format('the guard says %s and %s, the log %s and %s', g.depth, g.dropped, c.waiting, c.dropped)
      from counted c, sluice.guards g where g.topic = 'letters' and (g.depth, g.dropped) <> (c.waiting, c.dropped)`;
  return rows.map(({ sentence }) => sentence);
}

/** Eight producers with connections of their own, which know the topic. */
async function openProducers(rig: Rig, topic: Letters): Promise<readonly Producer[]> {
  const producers = await Promise.all(Array.from({ length: 8 }, () => rig.producer()));
  await Promise.all(producers.map((producer) => producer.openTopic(topic)));
  return producers;
}

/** Sixty-four senders over these producers; lone messages and batches. Gives how many messages were sent. */
async function crowd(producers: readonly Producer[], topic: Letters): Promise<number> {
  let sent = 0;
  const lane = async (number: number) => {
    for (let index = 0; index < 6; index += 1) {
      const values = Array.from({ length: number % 3 === 0 ? 7 : 1 }, (_, part) => `${number}-${index}-${part}`);
      const results = await producers[number % 8]?.sendBatch(topic, values);
      sent += results?.length ?? 0;
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, number) => lane(number)));
  return sent;
}

test("[Q3] under sixty-four senders what waits never passes the bound, and exactly the oldest are dropped", async () => {
  await using rig = await openRig();
  const { topic } = await guardedTopic(rig, "letters", 4, { maxDepth: 50, overflow });
  const problems = new Set<string>();
  let sent = 0;
  const sending = crowd(await openProducers(rig, topic), topic).then((count) => {
    sent = count;
  });
  let looks = 0;
  await during(sending, async () => {
    for (const problem of await wrongDrops(rig.sql, 50)) problems.add(problem);
    looks += 1;
  });
  for (const problem of await wrongDrops(rig.sql, 50)) problems.add(problem);
  expect([...problems]).toEqual([]);
  expect(looks).toBeGreaterThan(3);
  expect(sent).toBe(22 * 6 * 7 + 42 * 6);
  expect(await guardOf(rig.sql)).toEqual({ depth: 50, dropped: sent - 50 });
  expect(await readTopic(rig.sql, "letters")).toHaveLength(sent);
});

test("[Q3] the check sees a send that takes no lock, and a mark that is not raised with the append", async () => {
  const message = (partition: number, id: string) => ({ p: partition, u: 0, k: null, v: "x", a: { id } });
  const makesRoom = "perform sluice.make_room(p_topic, v_depth, v_depth - v_guard.max_depth, v_answers);";
  const defects = [
    async () => undefined,
    plantNoLock,
    (rig: Rig) => plant(rig.sql, "sluice.append_guarded", [makesRoom, "null;"]),
  ];
  const seen: string[][] = [];
  for (const defect of defects) {
    await using rig = await openRig();
    const { number } = await guardedTopic(rig, "letters", 2, { maxDepth: 1, overflow });
    await defect(rig);
    expect(await meet(rig, number, [message(0, "a"), message(1, "b")])).toEqual(["a:0:0:a", "a:1:0:b"]);
    seen.push(await wrongDrops(rig.sql, 1));
  }
  expect(seen).toEqual([[], ["2 wait"], ["2 wait"]]);
});

test("[Q3] the oldest is the oldest of all partitions, across segments, and a call larger than the bound keeps its last", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 3, { maxDepth: 4, overflow });
  const producer = await rig.producer();
  const send = (partition: number, ...values: string[]) => producer.sendBatch(topic, values, { partition });
  const waiting = async () => {
    const rows = await rig.sql<{ value: string }[]>`
      select value #>> '{}' as value from topics.letters m
      where "offset" >= coalesce(sluice.dropped_below(${number}, m.partition), 0) order by appended_at, partition, "offset"`;
    return rows.map(({ value }) => value).join("");
  };
  await send(2, "a", "b");
  await send(0, "c");
  await rig.sql`select sluice.roll_segment(${number})`;
  await send(1, "d");
  expect(await waiting()).toBe("abcd");
  await send(1, "e");
  expect(await waiting()).toBe("bcde");
  await send(0, "f", "g");
  expect(await waiting()).toBe("defg");
  await rig.sql`select sluice.roll_segment(${number})`;
  await send(2, "h", "i", "j", "k");
  expect(await waiting()).toBe("hijk");
  // One flush of six sends, of which the first two find themselves dropped at once.
  await Promise.all(
    ["l", "m", "n", "o", "p", "q"].map((value, index) => producer.send(topic, value, { partition: index % 3 })),
  );
  expect([...(await waiting())].sort().join("")).toBe("nopq");
  await expect(send(0, "1", "2", "3", "4", "5")).rejects.toThrow("fewer than the 5 of this batch");
  expect(await guardOf(rig.sql)).toEqual({ depth: 4, dropped: 13 });
  await forgetMarks(rig.pool());
  expect(await rig.sql`select from sluice.drop_mark`).toHaveLength(3);
  expect(await guardOf(rig.sql)).toEqual({ depth: 4, dropped: 13 });
});

test("[Q3] a lane that was raised after a segment rolled is bounded like any other", async () => {
  await using rig = await openRig();
  const { number } = await guardedTopic(rig, "letters", 1, { maxDepth: 3, overflow });
  const send = async (lane: number, value: string) => {
    const message = JSON.stringify([{ p: lane, u: 0, v: value }]);
    await rig.sql`select sluice.append_guarded(${number}, ${message}::text::json, null, 0, 'on', null)`;
  };
  await send(0, "a");
  await send(0, "b");
  await rig.sql`select sluice.roll_segment(${number})`;
  await rig.sql`select sluice.raise_priorities('letters', 2)`;
  for (const value of ["c", "d", "e", "f", "g"]) await send(1, value);
  expect(await guardOf(rig.sql)).toEqual({ depth: 3, dropped: 4 });
  expect(await wrongDrops(rig.sql, 3)).toEqual([]);
  // And when the older segment has been rolled past once more.
  await rig.sql`select sluice.roll_segment(${number})`;
  for (const value of ["h", "i"]) await send(0, value);
  expect(await guardOf(rig.sql)).toEqual({ depth: 3, dropped: 6 });
  expect(await wrongDrops(rig.sql, 3)).toEqual([]);
});

/**
 * Invariant 15 for a group that is at its end: of each partition, what was sent has had its effect or was dropped, and nothing
 * had two effects.
 */
async function unaccounted(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with sent as (select partition, count(*) as messages from topics.letters group by partition),
    done as (select partition, count(*) as effects, count(distinct "offset") as messages from public.effect group by partition),
    counted as (
      select s.partition, s.messages as sent, coalesce(d.effects, 0) as effects, coalesce(d.messages, 0) as done,
        coalesce((select o.dropped from sluice.drops o where o.partition = s.partition), 0) as dropped
      from sent s left join done d using (partition))
    select format('partition %s: %s sent, %s done by %s effects, %s dropped', partition, sent, done, effects, dropped) as sentence
    from counted where sent <> done + dropped or effects <> done`;
  return rows.map(({ sentence }) => sentence);
}

/** Sixty-four senders drown a group of this mode whose connections are killed meanwhile; resolves when it is at its end. */
async function drown(rig: Rig, mode: "ordered" | "keyed"): Promise<void> {
  const { topic } = await guardedTopic(rig, "letters", 3, { maxDepth: 20, overflow });
  const entry = await openTopic(rig.pool({ connections: 1 }), topic, { create: false });
  await rig.sql`create table public.effect (partition integer not null, "offset" bigint not null)`;
  const reading = consumer(topic, {
    group: "readers",
    mode,
    ...(mode === "ordered" ? {} : { concurrency: 4, prefetch: 8 }),
    commitInterval: "10ms",
    retry: { attempts: 50, backoff: fixed("1ms") },
    handler: async (c) => {
      const tx = await c.tx();
      await tx.execute(text`insert into public.effect values (${c.partition}, ${c.offset})`);
    },
  });
  await rig.worker({ name: "reader", consumer: reading, entry });
  const producers = await openProducers(rig, topic);
  let [deepest, killed] = [0, 0];
  await during(crowd(producers, topic), async () => {
    if (killed < 6) killed += await killBackends(rig.sql, "reader");
    deepest = Math.max(deepest, (await guardOf(rig.sql)).depth);
  });
  await eventually("the group is at its end", async () => {
    const [row] = await rig.sql`select count(*) as waiting from sluice.retry`;
    return Number(row?.["waiting"]) === 0 && (await lagOf(rig.sql, "readers")) === 0;
  });
  expect(killed).toBeGreaterThan(0);
  expect(deepest).toBeLessThanOrEqual(20);
}

for (const mode of ["ordered", "keyed"] as const) {
  test(`[Q3][I15] in ${mode} mode each message is done or dropped, and counted once, also when connections are killed`, async () => {
    await using rig = await openRig();
    await drown(rig, mode);
    expect(await unaccounted(rig.sql)).toEqual([]);
    const [row] = await rig.sql`select coalesce(sum(dropped), 0)::integer as dropped from sluice.drops`;
    expect(row?.["dropped"]).toBeGreaterThan(0);
  });
}

test("[Q3][I15] two members of a shared group that share what is dropped around them account for every message", async () => {
  await using rig = await openRig();
  const { topic } = await guardedTopic(rig, "letters", 3, { maxDepth: 20, overflow });
  await rig.sql`create table public.effect (partition integer not null, "offset" bigint not null)`;
  const sharing = consumer(topic, {
    group: "readers",
    mode: "shared",
    concurrency: 2,
    prefetch: 4,
    commitInterval: "10ms",
    retry: { attempts: 50, backoff: fixed("1ms") },
    handler: async (c) => {
      const tx = await c.tx();
      await tx.execute(text`insert into public.effect values (${c.partition}, ${c.offset})`);
    },
  });
  for (const name of ["first", "second"]) {
    rig.use(await app({ name, consumers: [sharing] }).start({ url: rig.url, logger: silentLogger }));
  }
  await crowd(await openProducers(rig, topic), topic);
  await eventually("the group is at its end", async () => {
    const [row] =
      await rig.sql`select (select count(*) from sluice.shared_retry) + (select count(*) from sluice.lease) as waiting`;
    return Number(row?.["waiting"]) === 0 && (await lagOf(rig.sql, "readers")) === 0;
  });
  expect(await unaccounted(rig.sql)).toEqual([]);
  const [row] = await rig.sql`select coalesce(sum(dropped), 0)::integer as dropped from sluice.drops`;
  expect(row?.["dropped"]).toBeGreaterThan(0);
});

test("[Q3] no way into a bounded topic passes its guard: the check sees a mover that appends straight to the log", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 2, { maxDepth: 2, overflow: "reject" });
  const producer = await rig.producer();
  await producer.sendBatch(topic, ["a", "b"]);
  const due = async () => {
    await rig.sql`select sluice.send('letters', value => '"late"', delay => '0 seconds')`;
    await rig.sql`select sluice.move_delayed(epoch, null, 100, 1000000) from sluice.duty where duty = 3`;
    const [row] = await rig.sql`select depth::integer as depth, held::integer as held from sluice.guards`;
    return row;
  };
  expect(await due()).toEqual({ depth: 2, held: 1 });
  await plant(rig.sql, "sluice.move_delayed", ["v_topic.messages is not null", "false"]);
  expect(await due()).toEqual({ depth: 3, held: 1 });
  // What was let past is beyond the bound; a topic that drops its oldest then drops so many more.
  await rig.sql`select sluice.guard_topic('letters', max_depth => 2, overflow => 'drop-oldest')`;
  expect(await rig.sql`select * from sluice.let_held_in(${number}, 10, 1000000)`).toHaveLength(1);
  expect(await guardOf(rig.sql)).toEqual({ depth: 2, dropped: 2 });
});

test("[Q3] what was dropped keeps no segment of a queue, but what a member has leased does", async () => {
  await using rig = await openRig();
  const { topic, number } = await guardedTopic(rig, "letters", 1, { maxDepth: 2, overflow });
  await rig.sql`insert into sluice.consumer_group (name) values ('gone')`;
  await rig.sql`select sluice.ensure_positions("group", ${number}, 'earliest') from sluice.consumer_group`;
  const producer = await rig.producer();
  await producer.sendBatch(topic, ["a", "b"]);
  await producer.sendBatch(topic, ["c", "d"]);
  await producer.sendBatch(topic, ["e"]);
  const bound = async () => {
    const [row] = await rig.sql`select consumed_to::integer as bound from sluice.retention_bounds(${number})`;
    return row?.["bound"];
  };
  expect(await bound()).toBe(3);
  await rig.sql`insert into sluice.lease (position, from_offset, to_offset, lease_until) values (1, 1, 4, now())`;
  expect(await bound()).toBe(1);
});

test("[I15] the check sees messages that are passed over and counted once more by the next owner", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.count_dropped", ["- v_row.counted;", ";"]);
  const { number } = await guardedTopic(rig, "letters", 1, { maxDepth: 2, overflow });
  await rig.sql`create table public.effect (partition integer not null, "offset" bigint not null)`;
  await rig.sql`insert into sluice.consumer_group (name) values ('readers')`;
  await rig.sql`select sluice.ensure_positions("group", ${number}, 'earliest') from sluice.consumer_group`;
  const producer = await rig.producer();
  const { topic } = await guardedTopic(rig, "letters", 1, { maxDepth: 2, overflow });
  await producer.sendBatch(topic, ["a", "b"]);
  await producer.sendBatch(topic, ["c", "d"]);
  await rig.sql`insert into public.effect values (0, 2), (0, 3)`;
  const pass = () => rig.sql`select sluice.pass_over(position, epoch, '{[0,2)}') from sluice.position`;
  await pass();
  expect(await unaccounted(rig.sql)).toEqual([]);
  await pass();
  expect(await unaccounted(rig.sql)).toEqual(["partition 0: 4 sent, 2 done by 2 effects, 4 dropped"]);
});
