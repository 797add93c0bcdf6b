import { expect, setDefaultTimeout } from "bun:test";
import {
  eventually,
  type Pgbouncer,
  startPgbouncer,
  startProxy,
  type TestDatabase,
  testDatabase,
} from "@sluice/testkit";
import postgres from "postgres";
import { app, connect, consumer, type RunningApp, silentLogger, topic } from "sluice";
import { z } from "zod";
import { effectCount, inexactEffects, makeEffectTable } from "../faults/effects.ts";
import { plant } from "../invariants/rig.ts";
import { isAtEnd, poolerTest, shares, startMember, thefts, watchForTheft } from "./pooled.ts";
import { shortLease } from "./short-lease.ts";

setDefaultTimeout(90_000);

const letters = topic("letters", { schema: z.string(), partitions: 4 });

/** A database behind a pooler in transaction mode, watched. */
interface Place extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly pooler: Pgbouncer;
  readonly sql: postgres.Sql;
}

async function place(): Promise<Place> {
  const database = await testDatabase();
  const pooler = await startPgbouncer(database.url, { mode: "transaction" });
  const sql = postgres(database.url, { max: 4, fetch_types: false, onnotice: () => undefined });
  await makeEffectTable(sql);
  await sql`create table public.held (name text not null)`;
  await sql`create table public.let_go (name text not null)`;
  await watchForTheft(sql);
  return {
    database,
    pooler,
    sql,
    async [Symbol.asyncDispose]() {
      await sql.end();
      await pooler[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** The environment of a process whose Sluice goes through the pooler. */
const through = ({ database, pooler }: Place, name: string) => ({
  DATABASE_URL: pooler.url,
  DIRECT_URL: database.url,
  MEMBER_NAME: name,
});

/** Resolves when the live members own so many partitions each. */
function owning(sql: postgres.Sql, expected: Readonly<Record<string, number>>): Promise<boolean> {
  return eventually(`the members own ${JSON.stringify(expected)}`, async () =>
    Bun.deepEquals(await shares(sql), expected),
  );
}

async function sendTo(url: string, count: number): Promise<void> {
  await using sluice = await connect({ url, logger: silentLogger });
  const values = Array.from({ length: count }, (_, index) => `letter ${index}`);
  await Promise.all(values.map((value, index) => sluice.send(letters, value, { partition: index % 4 })));
}

poolerTest(
  "[K5][I13] of two processes behind a pooler one is killed: its partitions and duties move when its lease has run out",
  async () => {
    await using here = await place();
    await using first = startMember(through(here, "first"));
    await using _second = startMember(through(here, "second"));
    await owning(here.sql, { first: 2, second: 2 });
    await sendTo(here.pooler.url, 200);
    await eventually("they are at work", async () => (await effectCount(here.sql)) > 20);
    first.signal("SIGKILL");
    const [killed] = await here.sql<
      { until: Date }[]
    >`select lease_until as until from sluice.members where name like 'first %'`;
    await owning(here.sql, { second: 4 });
    const [now] = await here.sql<{ now: Date }[]>`select clock_timestamp() as now`;
    expect(Number(now?.now)).toBeGreaterThanOrEqual(Number(killed?.until));
    await eventually("every duty is the other's", async () => {
      const held = await here.sql`select from sluice.leaders where held and owner like 'second %'`;
      return held.length === 4;
    });
    // Through the outbox, which the relay moves: a duty.
    const client = postgres(here.pooler.url, { max: 1, prepare: false });
    await using sluice = await connect({ url: here.pooler.url, logger: silentLogger });
    await client.begin(async (tx) => sluice.send(letters, "by the outbox", { tx }));
    await client.end();
    await eventually(
      "everything is done",
      async () => (await effectCount(here.sql)) === 201 && isAtEnd(here.sql, "writers"),
    );
    expect(await inexactEffects(here.sql)).toEqual([]);
    expect(await thefts(here.sql)).toEqual([]);
  },
);

poolerTest(
  "[K5][I12][I13] a process that is frozen beyond its lease is replaced, and commits nothing when it goes on",
  async () => {
    await using here = await place();
    await using frozen = startMember({ ...through(here, "frozen"), HOLD_AT: "3" });
    await owning(here.sql, { frozen: 4 });
    await sendTo(here.pooler.url, 40);
    // One transaction is open, at its handler; all others are over.
    await eventually("its transaction is open", async () => (await here.sql`select from public.held`).length > 0);
    await eventually("the others are done", async () => (await effectCount(here.sql)) === 33);
    frozen.signal("SIGSTOP");
    await using _next = startMember(through(here, "next"));
    await owning(here.sql, { next: 4 });
    await eventually("the next one is at the end", async () => isAtEnd(here.sql, "writers"));
    await here.sql`insert into public.let_go values ('all')`;
    frozen.signal("SIGCONT");
    await owning(here.sql, { frozen: 2, next: 2 });
    await sendTo(here.pooler.url, 40);
    await eventually(
      "everything is done",
      async () => (await effectCount(here.sql)) === 80 && isAtEnd(here.sql, "writers"),
    );
    expect(await inexactEffects(here.sql)).toEqual([]);
    expect(await thefts(here.sql)).toEqual([]);
    const [row] = await here.sql`select worker from public.effect where partition = 0 and "offset" = 3`;
    expect(row).toEqual({ worker: "next" });
  },
);

/** The numbers of the live members that have this name. */
async function numbersOf(sql: postgres.Sql, name: string): Promise<readonly number[]> {
  const rows = await sql<{ member: number }[]>`
    select member from sluice.members where live and split_part(name, ' ', 1) = ${name}`;
  return rows.map(({ member }) => member);
}

poolerTest(
  "[K5] a member that cannot reach the pooler for as long as its lease runs loses it, and begins again",
  async () => {
    await using here = await place();
    await using proxy = await startProxy(here.pooler.url);
    const idle = consumer(letters, { group: "idle", handler: () => undefined });
    const member = (name: string) => app({ name, consumers: [idle], ...shortLease });
    await using _cut = await member("cut").start({ url: proxy.url, logger: silentLogger });
    const before = await numbersOf(here.sql, "cut");
    await using _other = await member("other").start({ url: here.pooler.url, logger: silentLogger });
    await owning(here.sql, { cut: 2, other: 2 });
    proxy.freeze();
    await owning(here.sql, { other: 4 });
    proxy.thaw();
    await owning(here.sql, { cut: 2, other: 2 });
    expect(await numbersOf(here.sql, "cut")).not.toEqual(before);
    expect(await thefts(here.sql)).toEqual([]);
  },
);

/** Members with a session and members without come to one group; resolves with what was taken from the living. */
async function mix(here: Place): Promise<string[]> {
  const busy = new Set<string>();
  const twice: string[] = [];
  const member = (name: string) =>
    app({
      name,
      ...shortLease,
      consumers: [
        consumer(letters, {
          group: "mixed",
          handler: async (c) => {
            const partition = `partition ${c.partition}`;
            if (busy.has(partition)) twice.push(`${partition} has two handlers at once`);
            busy.add(partition);
            await Bun.sleep(5);
            busy.delete(partition);
          },
        }),
      ],
    });
  const urls = { pooled: here.pooler.url, direct: here.database.url };
  const running = new Map<string, RunningApp>();
  const start = async (name: keyof typeof urls) => {
    running.set(name, await member(name).start({ url: urls[name], logger: silentLogger }));
  };
  const stop = async (name: string) => {
    await running.get(name)?.close();
    running.delete(name);
  };
  let sending = true;
  const sends = (async () => {
    await using sluice = await connect({ url: urls.direct, logger: silentLogger });
    for (let number = 0; sending; number += 1)
      await sluice.send(letters, `letter ${number}`, { partition: number % 4 });
  })();
  try {
    await start("pooled");
    await owning(here.sql, { pooled: 4 });
    await start("direct");
    await owning(here.sql, { pooled: 2, direct: 2 });
    await stop("pooled");
    await owning(here.sql, { direct: 4 });
    await start("pooled");
    await owning(here.sql, { pooled: 2, direct: 2 });
    // The one with a session dies at once with that, and comes back.
    await here.sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'sluice direct %'`;
    await owning(here.sql, { pooled: 2, direct: 2 });
    await stop("direct");
    await owning(here.sql, { pooled: 4 });
  } finally {
    sending = false;
    await sends;
    for (const name of [...running.keys()]) await stop(name);
  }
  return [...(await thefts(here.sql)), ...twice];
}

poolerTest(
  "[K5] members with a session and members without share a group, and neither takes what the other has",
  async () => {
    await using here = await place();
    expect(await mix(here)).toEqual([]);
  },
);

/** A thief with a session comes to an owner without, and one without to an owner with; resolves with what they got. */
async function tryToSteal(here: Place): Promise<string[]> {
  const idle = consumer(letters, { group: "idle", handler: () => undefined });
  for (const url of [here.pooler.url, here.database.url]) {
    const isOwnerLeased = url === here.pooler.url;
    await using _owner = await app({ name: "owner", consumers: [idle], ...shortLease }).start({
      url,
      logger: silentLogger,
    });
    await owning(here.sql, { owner: 4 });
    const [thief] = await here.sql<{ member: number }[]>`
      insert into sluice.member (name, backend_pid, lease_until, leased)
      values ('thief', 1, clock_timestamp() + interval '1 minute', ${!isOwnerLeased}) returning member`;
    await here.sql`select sluice.take_free(position, ${thief?.member ?? 0}, 0) from sluice.position`;
    await here.sql`select sluice.take_free_duty(duty, 'thief', ${thief?.member ?? 0}) from sluice.duty`;
    await here.sql`delete from sluice.member where member = ${thief?.member ?? 0}`;
  }
  return await thefts(here.sql);
}

poolerTest("[K5] nothing is taken from an owner that lives, whatever both live by", async () => {
  await using here = await place();
  expect(await tryToSteal(here)).toEqual([]);
});

poolerTest("[K5] the check sees a takeover that asks neither for leases nor for locks", async () => {
  await using here = await place();
  await plant(
    here.sql,
    "sluice.is_anothers",
    [/holds_lease\(p\.owner\)/, "holds_lease(-1)"],
    [/is_locked\(1936487684/, "is_locked(-1"],
  );
  const seen = await tryToSteal(here);
  expect(seen.filter((what) => what.startsWith("a partition of member"))).toHaveLength(8);
});

poolerTest("[K5] the check sees a duty that is taken without asking for the lease", async () => {
  await using here = await place();
  await plant(here.sql, "sluice.is_anothers_duty", [/holds_lease\(d\.member\)/, "holds_lease(-1)"]);
  const seen = await tryToSteal(here);
  expect(seen.filter((what) => what.startsWith("a duty of member"))).toHaveLength(4);
});
