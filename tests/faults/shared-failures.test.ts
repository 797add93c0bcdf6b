import { expect, test } from "bun:test";
import { eventually, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { app, connect, consumer, fixed, silentLogger, topic } from "sluice";
import { z } from "zod";
import { plant } from "../invariants/rig.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 1 });
const messages = 6_000;

function open(url: string): AsyncDisposable & { readonly sql: postgres.Sql } {
  const sql = postgres(url, { max: 4, onnotice: () => undefined });
  return { sql, [Symbol.asyncDispose]: () => sql.end() };
}

interface State {
  /** Messages that are not done yet. */
  readonly left: number;
  readonly deadlocks: number;
}

/**
 * Every second message fails at first, while two members acknowledge what lies around it all the time: as many rounds as are allowed, or until
 * there was a deadlock.
 */
async function failALot(url: string, sql: postgres.Sql, rounds: number): Promise<State> {
  const worker = (name: string) =>
    app({
      name,
      consumers: [
        consumer(jobs, {
          group: "workers",
          mode: "shared",
          commitInterval: "10ms",
          retry: { attempts: 5, backoff: fixed("1ms") },
          handler: (c) => {
            if (c.attempt === 1 && c.value.number % 2 === 0) throw new Error("at first");
          },
        }),
      ],
    }).start({ url, logger: silentLogger });
  const members = [await worker("a"), await worker("b")];
  const look = async () => {
    const [state] = await sql<State[]>`
      select (select sum(lag) from sluice.lag where "group" = 'workers')::integer
          + (select count(*) from sluice.pending)::integer + (select count(*) from sluice.shared_retries)::integer as left,
        deadlocks::integer from pg_stat_database where datname = current_database()`;
    return state ?? { left: Number.NaN, deadlocks: Number.NaN };
  };
  for (let round = 0; round < rounds && (await look()).deadlocks === 0; round += 1) {
    for (let sent = 0; sent < messages; sent += 100) {
      const values = Array.from({ length: 100 }, (_, index) => ({ number: sent + index }));
      await members[0]?.sluice.sendBatch(jobs, values);
    }
    const isOver = ({ left, deadlocks }: State) => left === 0 || deadlocks > 0;
    await eventually("everything is done, or there was a deadlock", async () => isOver(await look()), 60_000);
  }
  // What their sessions counted is written at their end.
  for (const member of members) await member.close();
  return await look();
}

test("[M1][R5] what fails and what is acknowledged in a shared group take their locks in one order", async () => {
  await using database = await testDatabase();
  await using room = open(database.url);
  expect(await failALot(database.url, room.sql, 1)).toEqual({ left: 0, deadlocks: 0 });
});

/** A group with one position, which is given. */
async function groupAndPosition(sql: postgres.Sql): Promise<number> {
  await sql`insert into sluice.consumer_group (name) values ('workers')`;
  const [place] = await sql<{ position: number }[]>`
    insert into sluice.position ("group", topic, partition, next_offset)
    select g."group", t.topic, 0, 0 from sluice.consumer_group g, sluice.topic t returning position`;
  return place?.position ?? 0;
}

/**
 * What a statement over two leases has locked while it waits for the first of them: nothing, where it goes through them as all others do.
 *
 * @param doubt whether a transaction of their handlers may have committed
 */
async function lockedWhileWaiting(sql: postgres.Sql, doubt: boolean): Promise<number[]> {
  const position = await groupAndPosition(sql);
  const leases = await sql<{ lease: number }[]>`
    insert into sluice.lease (position, from_offset, to_offset, lease_until)
    values (${position}, 0, 10, now()), (${position}, 10, 20, now()) returning lease::integer`;
  const [first = 0, second = 0] = leases.map(({ lease }) => lease);
  let moving: Promise<unknown> | undefined;
  const locked = await sql.begin(async (holder) => {
    await holder`select from sluice.lease where lease = ${first} for update`;
    // The last one comes first in what is asked.
    moving = sql`
      select from sluice.move_all_to_retry(array[${position}, ${position}]::integer[], array[${second}, ${first}]::bigint[], '{15, 5}', '{1, 1}', '{0, 0}',
        '{no, no}', '{null, null}', array[${doubt}, ${doubt}]::boolean[])`.execute();
    await eventually("it waits for the first lease", async () => {
      const waiting = await sql`
        select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%move_all_to_retry%'`;
      return waiting.length === 1;
    });
    const free = await holder<{ lease: number }[]>`select lease::integer from sluice.lease for update skip locked`;
    return [first, second].filter((lease) => !free.some((one) => one.lease === lease));
  });
  await moving;
  return locked;
}

test("[M1] failures lock their leases from the first to the last, and the check sees some that do not", async () => {
  for (const doubt of [false, true]) {
    await using database = await testDatabase();
    await using room = open(database.url);
    await (await connect({ url: database.url, topics: [jobs], logger: silentLogger })).close();
    expect(await lockedWhileWaiting(room.sql, doubt)).toEqual([]);
    await room.sql`truncate sluice.lease, sluice.shared_retry, sluice.position, sluice.consumer_group cascade`;
    await plant(room.sql, "sluice.move_all_to_retry", [/(order by l\.lease)( for update of l)/g, "$1 desc$2"]);
    expect(await lockedWhileWaiting(room.sql, doubt)).toHaveLength(1);
  }
});

/** The call that moves messages 3 and 4 of a lease, as a statement; whether transactions may have committed differs. */
const moves: Readonly<Record<string, (position: number, lease: number) => string>> = {
  "many, in doubt": moveAll("{true,true}"),
  "many, some in doubt": moveAll("{false,true}"),
  "many, certain": moveAll("{false,false}"),
  one: (position, lease) =>
    `select m.outcome, m.claim from sluice.move_to_retry(${position}, ${lease}, 3, 1, 0, 'no', null, 7, 10000) m`,
};

function moveAll(doubts: string) {
  return (position: number, lease: number) => `select number, outcome from sluice.move_all_to_retry(
    '{${position},${position}}', '{${lease},${lease}}', '{3,4}', '{1,1}', '{0,0}', '{no,no}', '{null,null}', '${doubts}')`;
}

/**
 * A move that is repeated while its first try has yet to commit. Meanwhile somebody has the lease, so the first's messages are over before the
 * repeat can go on. Gives what both were told, and what waits then.
 */
async function moveTwice(sql: postgres.Sql, move: (position: number, lease: number) => string) {
  const position = await groupAndPosition(sql);
  const [made] = await sql<{ lease: number }[]>`
    insert into sluice.lease (position, from_offset, to_offset, member, lease_until)
    values (${position}, 0, 10, 7, now() + interval '1 hour') returning lease::integer`;
  const text = move(position, made?.lease ?? 0);
  const first = await sql.reserve();
  const holder = await sql.reserve();
  try {
    await first`begin`;
    const told = [...(await first.unsafe(text))];
    let isAnswered = false;
    const repeat = sql.unsafe(text).then(
      (rows) => [...rows],
      (error) => error.code as string,
    );
    void repeat.then(() => {
      isAnswered = true;
    });
    const waiting = (count: number) =>
      eventually(`${count} wait`, async () => {
        const rows = await sql`
          select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
        return isAnswered || rows.length === count;
      });
    await waiting(1);
    await holder`begin`;
    const held = holder`select from sluice.lease for update`.execute();
    await waiting(2);
    await first`commit`;
    await held;
    await sql`delete from sluice.shared_retry where "offset" = 4`;
    await holder`commit`;
    const repeated = await repeat;
    const left = await sql<{ offset: number }[]>`select "offset"::integer from sluice.shared_retry`;
    return { told, repeated, left: left.map(({ offset }) => offset) };
  } finally {
    first.release();
    holder.release();
  }
}

for (const [what, move] of Object.entries(moves)) {
  test(`[M1][R5] moving what failed is repeated while the first try is still at work: nothing is moved twice (${what})`, async () => {
    await using database = await testDatabase();
    await using room = open(database.url);
    await (await connect({ url: database.url, topics: [jobs], logger: silentLogger })).close();
    const { told, repeated, left } = await moveTwice(room.sql, move);
    expect(repeated).toEqual(told);
    expect(left).toEqual([3]);
  });
}

test("[M1] the check sees a repeat that believes what it saw before it waited", async () => {
  await using database = await testDatabase();
  await using room = open(database.url);
  await (await connect({ url: database.url, topics: [jobs], logger: silentLogger })).close();
  await plant(room.sql, "sluice.move_all_to_retry", ["not l.done @> p_offsets[m.number]", "true"]);
  expect((await moveTwice(room.sql, moveAll("{true,true}"))).repeated).toBe("23505");
});
