import { join } from "node:path";
import { eventually } from "@sluice/testkit";
import type { Rig } from "../invariants/rig.ts";

/** A process that runs member-process.ts; killed with the rig at the latest. */
export interface MemberProcess {
  readonly signal: (name: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM") => void;
  readonly exited: Promise<number>;
}

/** Starts one, and waits until it has this many partitions. */
export async function startMember(
  rig: Rig,
  name: string,
  partitions: number,
  environment: Readonly<Record<string, string>> = {},
): Promise<MemberProcess> {
  const child = Bun.spawn([process.execPath, join(import.meta.dirname, "member-process.ts")], {
    env: { ...process.env, DATABASE_URL: rig.url, NAME: name, ...environment },
    stdout: "ignore",
    stderr: "ignore",
  });
  rig.use({
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  });
  await eventually(`${name} has ${partitions} partitions`, async () => (await heldBy(rig, name)) === partitions);
  return { signal: (signal) => child.kill(signal), exited: child.exited };
}

/** What handlers of {@link startMember}'s processes write to. It has no unique key: what comes twice must show. */
export async function makeEffectTable(rig: Rig): Promise<void> {
  await rig.sql`create table public.effect (partition integer not null, "offset" bigint not null, member text not null)`;
}

/** How many partitions the app of this name has, with its session there. */
export async function heldBy(rig: Rig, name: string): Promise<number> {
  const [row] = await rig.sql<{ held: number }[]>`
    select count(*)::integer as held from sluice.assignments where held and owner like ${`${name} %`}`;
  return row?.held ?? 0;
}

/** Why partitions came to the app of this name, and how many did for each reason. */
export async function movesTo(rig: Rig, name: string): Promise<Readonly<Record<string, number>>> {
  const rows = await rig.sql<{ why: string; moves: number }[]>`
    select why, count(*)::integer as moves from sluice.moves where "to" like ${`${name} %`} group by why order by why`;
  return Object.fromEntries(rows.map(({ why, moves }) => [why, moves]));
}

/** Resolves when every message of the topic has had its effect; with what had it not exactly once. */
export async function effectsNotOnce(rig: Rig, count: number): Promise<string[]> {
  await eventually("everything is done", async () => {
    const [row] = await rig.sql<{ left: number }[]>`
      select ${count} - count(distinct (partition, "offset"))::integer as left from public.effect`;
    return row?.left === 0;
  });
  const rows = await rig.sql<{ partition: number; offset: number; effects: number }[]>`
    select partition, "offset"::integer, count(*)::integer as effects from public.effect group by 1, 2 having count(*) > 1`;
  return rows.map(
    ({ partition, offset, effects }) => `partition ${partition}, offset ${offset} had ${effects} effects`,
  );
}
