import { app, type ConsumerOptions, consumer, type HoursOptions, topic } from "sluice";
import { z } from "zod";
import { eventually, type World, world } from "./harness.ts";

/** What the consumers of these tests work on. */
export const jobs = topic("jobs", { schema: z.number(), partitions: 2, key: String });

/** In June, Berlin is two hours ahead of UTC; the 8th was a Monday. */
export const monday = (time: string) => `2026-06-08T${time}+02:00`;

/** A database whose clock says what a test wants, to whoever asks it for the time of day, and goes on from there. */
export async function worldAt(time: string): Promise<World & { set(time: string): Promise<void> }> {
  const here = await world();
  await here.sql.unsafe(`
    create schema shifted;
    create table shifted.clock (ahead interval not null);
    insert into shifted.clock values ('${time}'::timestamptz - pg_catalog.clock_timestamp());
    create function shifted.clock_timestamp() returns timestamptz language sql volatile as $$
      select pg_catalog.clock_timestamp() + case when current_query() like '%as now_ms%' then (select ahead from shifted.clock) else '0' end
    $$;
    do $$ begin execute format('alter database %I set search_path = shifted, pg_catalog, public', current_database()); end $$`);
  return {
    ...here,
    async set(to) {
      await here.sql`update shifted.clock set ahead = ${to}::text::timestamptz - pg_catalog.clock_timestamp()`;
    },
    [Symbol.asyncDispose]: () => here[Symbol.asyncDispose](),
  };
}

/** What a consumer of these tests is declared with. */
export type Options = Partial<ConsumerOptions<number>> & { readonly hours: HoursOptions };

/** An app with one consumer that keeps hours. */
export const working = (options: Options) =>
  app({ consumers: [consumer(jobs, { group: "work", handler: () => undefined, ...options })] });

/** Open on weekdays from eight to six, closed otherwise. */
export const office: HoursOptions = {
  timeZone: "Europe/Berlin",
  windows: [{ name: "office", days: ["mon", "tue", "wed", "thu", "fri"], from: "08:00", to: "18:00" }],
  otherwise: "closed",
};

/** Resolves when every member goes by this window; null: by none. */
export function inForce(here: World, window: string | null, members = 1): Promise<true> {
  return eventually(`window ${window} is in force`, async () => {
    const rows = await here.sql<{ window: string | null }[]>`select "window" from sluice.hours`;
    return rows.length === members && rows.every((row) => row.window === window) ? (true as const) : undefined;
  });
}

/** Resolves when the process has asked the database for its time so often once more. */
export async function looksAtTheClock(here: World, times: number): Promise<void> {
  await here.sql`create sequence shifted.looks`;
  await here.sql.unsafe(`create or replace function shifted.clock_timestamp() returns timestamptz language sql volatile as $$
    select pg_catalog.clock_timestamp() + case when current_query() like '%as now_ms%' and nextval('shifted.looks') > 0
      then (select ahead from shifted.clock) else '0' end
  $$`);
  await eventually("the process looks at the clock", async () => {
    const [row] = await here.sql<{ looks: number }[]>`select last_value::int as looks from shifted.looks`;
    return (row?.looks ?? 0) >= times ? true : undefined;
  });
}
