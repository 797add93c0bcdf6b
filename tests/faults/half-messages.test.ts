import { expect, setDefaultTimeout, test } from "bun:test";
import { HalfMessages } from "@sluice/broker";
import { silentLogger } from "@sluice/kernel";
import { eventually, startProxy } from "@sluice/testkit";
import { HalfChecker } from "@sluice/worker";
import type postgres from "postgres";
import { during, killBackends, openRig, plant, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

/** In one statement, and so in one snapshot: half messages that are not where their state says, or in more than one place. */
async function misplaced(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with place as (
      select value #>> '{}' as value, 'o-' || outbox as id from (select outbox, value::jsonb from sluice.outbox) o
      union all select value #>> '{}', id from topics.letters),
    counted as (select h.half, h.state, h.message,
      (select count(*) from place where place.value = 'half ' || h.half) as places,
      (select count(*) from place where place.id = h.message) as named from sluice.half_message h)
    select format('half message %s is %s, in %s places', half, state, places) as sentence from counted
    where places <> (state = 'committed')::integer or named <> places order by half`;
  return rows.map(({ sentence }) => sentence);
}

/** A half message whose value is its own number. */
async function prepare(rig: Rig, timeoutMs: number): Promise<string> {
  const [row] = await rig.sql<{ half: string }[]>`
    select nextval('sluice.half_message_half_seq') + 1 as half`;
  const [made] = await rig.sql<{ half: string }[]>`
    select sluice.prepare('letters', to_json(${`half ${row?.half ?? ""}`}::text), check_back => 'letters',
      timeout => make_interval(secs => ${timeoutMs}::double precision / 1000))::text as half`;
  if (made?.half !== row?.half) throw new Error("somebody else has prepared one");
  return made?.half ?? "";
}

test("[R3] commits race rollbacks and check-backs while backends are killed and answers lost: each is in its place, once", async () => {
  await using rig = await openRig();
  await rig.topic("letters", 2);
  const proxy = rig.use(await startProxy(rig.url));
  const halves = new HalfMessages(rig.pool({ url: proxy.url, name: "deciders" }));
  const checkBacks = new Map([["letters", () => (Math.random() < 0.5 ? ("commit" as const) : ("rollback" as const))]]);
  for (const name of ["asker one", "asker two"]) {
    const checker = new HalfChecker({
      halves: new HalfMessages(rig.pool({ url: proxy.url, name })),
      checkBacks,
      origins: [],
      pollMs: 5,
      logger: silentLogger,
    });
    rig.use({ [Symbol.asyncDispose]: () => checker.stop() });
  }
  const told = new Map<string, Set<string>>();
  const decide = async (half: string) => {
    const outcomes = await Promise.allSettled(
      [0, 1, 2].map((turn) => (turn % 2 === 0 ? halves.commit(half, "caller") : halves.rollback(half, "caller"))),
    );
    told.set(half, new Set(outcomes.flatMap((one) => (one.status === "fulfilled" ? [one.value.outcome] : []))));
  };
  const working = (async () => {
    for (let number = 0; number < 60; number += 1) {
      const half = await prepare(rig, 100);
      // Two of three are left to the check-backs, which are on their way to the third, too.
      if (number % 3 === 0) await decide(half);
    }
    await eventually(
      "all are decided",
      async () => {
        // Whose asker was killed comes again when its lease is over; nobody need wait for that here.
        await rig.sql`update sluice.half_message set check_at = clock_timestamp() where state = 'prepared' and checks > 0`;
        return (await rig.sql`select from sluice.half_messages where state = 'prepared' limit 1`).length === 0;
      },
      40_000,
    );
  })();
  let rounds = 0;
  await during(working, async () => {
    rounds += 1;
    if (rounds % 4 === 0) await killBackends(rig.sql, rounds % 8 === 0 ? "asker" : "deciders");
    if (rounds % 4 === 2)
      await Promise.race([
        working,
        proxy.swallowAnswer((statement) => /sluice\.(commit|rollback)_half/.test(statement)),
      ]);
    expect(await misplaced(rig.sql)).toEqual([]);
  });
  expect(rounds).toBeGreaterThan(4);
  expect(told.size).toBe(20);
  const states = await rig.sql<{ half: string; state: string }[]>`select half, state from sluice.half_message`;
  expect(states).toHaveLength(60);
  for (const { half, state } of states)
    for (const outcome of told.get(half) ?? []) expect(outcome as string).toBe(state);
  expect(await misplaced(rig.sql)).toEqual([]);
});

for (const [defect, name, changes, violation] of [
  [
    "commits without looking",
    "sluice.commit_half",
    [
      [/if v_half\.decided_at is not null then[^;]*;[^;]*;\s*end if;/, ""],
      ["key = null, value = null, attributes = null,", ""],
    ],
    "half message 2 is committed, in 2 places",
  ],
  [
    "commits without moving",
    "sluice.commit_half",
    [
      [
        /returning 'o-' \|\| outbox into v_half\.message;/,
        "returning 'o-' || outbox into v_half.message; delete from sluice.outbox;",
      ],
    ],
    "half message 2 is committed, in 0 places",
  ],
] as const) {
  test(`[R3] the check sees one that ${defect}`, async () => {
    await using rig = await openRig();
    await rig.topic("letters", 1);
    await rig.sql.unsafe("alter table sluice.half_message drop constraint half_message_payload");
    await plant(rig.sql, name, ...changes);
    const half = await prepare(rig, 60_000);
    const halves = new HalfMessages(rig.pool());
    await halves.commit(half, "caller");
    await halves.commit(half, "caller");
    expect(await misplaced(rig.sql)).toEqual([violation]);
  });
}
