import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { eventually, History } from "@sluice/testkit";
import { openRig, plant, type Rig, sendMany } from "../invariants/rig.ts";

setDefaultTimeout(120_000);

const program = join(import.meta.dirname, "poison-process.ts");

/** Starts the app again and again, as a supervisor does, until `isOver`; gives how often it was killed. */
async function supervise(
  rig: Rig,
  environment: Record<string, string>,
  isOver: () => Promise<boolean>,
): Promise<number> {
  let kills = 0;
  for (let starts = 0; starts < 12; starts += 1) {
    const child = Bun.spawn([process.execPath, program], {
      env: { ...process.env, ...environment, DATABASE_URL: rig.url },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const over = eventually("it is over", isOver, 60_000).then(() => "over" as const);
    const outcome = await Promise.race([over, child.exited]);
    over.catch(() => undefined);
    if (outcome === "over") {
      child.kill("SIGTERM");
      await child.exited;
      return kills;
    }
    expect(child.signalCode).toBe("SIGKILL");
    kills += 1;
  }
  return kills;
}

/** Sends letters with one among them that kills whoever handles it, and lets the app run until all of it is settled. */
async function survive(rig: Rig, environment: Record<string, string>) {
  await rig.sql`create table public.handing_over (number serial primary key, value text not null, attempt integer not null)`;
  await rig.sql`create table public.handled (value text not null)`;
  const { topic } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  for (const number of [0, 1, 2, 3, 4]) {
    await sendMany(producer, topic, new History(), { sender: `before${number}`, count: 4 });
    if (number === 2) await producer.send(topic, "poison", { key: "poison" });
  }
  const kills = await supervise(rig, environment, async () => {
    const [row] = await rig.sql<{ over: boolean }[]>`
      select (select count(distinct value) from public.handled) = 20 and exists (select from sluice.dead_letters) as over`;
    return row?.over === true;
  });
  const handedOver = await rig.sql<{ value: string; times: number; attempts: number[] }[]>`
    select value, count(*)::integer as times, array_agg(attempt order by number) as attempts
    from public.handing_over group by value order by times desc, value`;
  return { kills, handedOver };
}

/** Invariant 16. */
function handedOverTooOften(handedOver: readonly { value: string; times: number }[], limit: number): string[] {
  return handedOver
    .filter(({ times }) => times > limit + 1)
    .map(({ value, times }) => `${value} was handed over ${times} times, with a limit of ${limit}`);
}

for (const [mode, attempts] of [
  ["keyed", 3],
  ["ordered", 3],
  ["keyed", 1],
] as const) {
  test(`[I16][R5] a message that kills its process ends as a dead letter, and only it (${mode}, ${attempts} attempts)`, async () => {
    await using rig = await openRig();
    const { kills, handedOver } = await survive(rig, { POISON_MODE: mode, POISON_ATTEMPTS: String(attempts) });
    expect(handedOverTooOften(handedOver, attempts)).toEqual([]);
    expect(kills).toBe(handedOver.find(({ value }) => value === "poison")?.times ?? 0);
    const letters = await rig.sql`select key, reason, attempts, error from sluice.dead_letters`;
    expect([...letters]).toEqual([
      {
        key: "poison",
        reason: "exhausted",
        attempts,
        error: expect.stringContaining("its process ended while it was being handled"),
      },
    ]);
    // At least once: what was in hand when a process ended may have been handled twice, nothing else.
    const [row] = await rig.sql<
      { letters: number }[]
    >`select count(distinct value)::integer as letters from public.handled`;
    expect(row?.letters).toBe(20);
  });
}

test("[I16] the check sees attempts that are not counted when a message is handed over", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.hand_out", ["else h.attempt + 1", "else h.attempt"]);
  const { handedOver } = await survive(rig, { POISON_ATTEMPTS: "2" });
  expect(handedOverTooOften(handedOver, 2)).toEqual(["poison was handed over 12 times, with a limit of 2"]);
});

for (const mode of ["keyed", "ordered"] as const) {
  test(`[I16][R5][R9] a message that kills its process among others of its batch is found: only it is a dead letter (${mode})`, async () => {
    await using rig = await openRig();
    const { handedOver } = await survive(rig, { POISON_MODE: mode, POISON_ATTEMPTS: "3", POISON_BATCH: "8" });
    expect(handedOverTooOften(handedOver, 3)).toEqual([]);
    const letters = await rig.sql`select key, reason, attempts from sluice.dead_letters`;
    expect([...letters]).toEqual([{ key: "poison", reason: "exhausted", attempts: 3 }]);
  });
}
