import { join } from "node:path";
import { type AnyConsumer, consumer, fixed, type HandlerContext, type Topic } from "@sluice/contract";
import type postgres from "postgres";
import type { Rig } from "../invariants/rig.ts";

/** A table of everything that was handed over. It has no unique key: what comes twice must show. */
export async function makeDeliveredTable(sql: postgres.Sql): Promise<void> {
  await sql`create table public.delivered ("offset" bigint not null, attempt integer not null, member integer not null)`;
}

/** A consumer of the shared group that notes every message, as the process in shared-member.ts does. */
export function sharer(
  sql: postgres.Sql,
  topic: Topic<string>,
  options: {
    readonly member: number;
    readonly handler?: (context: HandlerContext<string>) => void | Promise<void>;
    readonly concurrency?: number;
  },
): AnyConsumer {
  return consumer(topic, {
    group: "sharers",
    mode: "shared",
    concurrency: options.concurrency ?? 4,
    commitInterval: 20,
    retry: { attempts: 3, backoff: fixed("10ms") },
    handler: async (context) => {
      await sql`insert into public.delivered ("offset", attempt, member)
        values (${context.offset}, ${context.attempt}, ${options.member})`;
      await options.handler?.(context);
    },
  });
}

/** A process that shares; killed with the rig at the latest. */
export interface SharingProcess {
  kill(): Promise<void>;
  readonly exited: Promise<unknown>;
}

/** Starts shared-member.ts. */
export function startSharer(rig: Rig, environment: Readonly<Record<string, string>> = {}): SharingProcess {
  const child = Bun.spawn([process.execPath, join(import.meta.dirname, "shared-member.ts")], {
    env: { ...process.env, ...environment, DATABASE_URL: rig.url },
    stdout: "ignore",
    stderr: "ignore",
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  rig.use({ [Symbol.asyncDispose]: kill });
  return { kill, exited: child.exited };
}

/** How often each offset was handed over. */
export async function deliveries(sql: postgres.Sql): Promise<ReadonlyMap<number, number>> {
  const rows = await sql<{ offset: number; count: number }[]>`
    select "offset"::integer, count(*)::integer from public.delivered group by 1 order by 1`;
  return new Map(rows.map(({ offset, count }) => [offset, count]));
}

/** Invariant 14, the first half: what is done, and no dead letter, was handed over at least once. */
export async function neverHandedOver(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ offset: number }[]>`
    select o::integer as "offset" from sluice.position p, generate_series(0, p.next_offset - 1) o
    where not exists (select from public.delivered d where d."offset" = o)
      and not exists (select from sluice.dead_letter l where l."offset" = o and l."group" = p."group") order by 1`;
  return rows.map(({ offset }) => `offset ${offset} is done and was never handed over`);
}

/** How many messages are leased, or in hand again, and not acknowledged. */
export async function inFlight(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select (coalesce((select sum(messages) from sluice.pending), 0) + (select count(*) from sluice.shared_retries))::integer as count`;
  return row?.count ?? 0;
}

/** Whether the group has done everything: nothing is leased, nothing waits, the position is at the end. */
export async function isAllDone(sql: postgres.Sql): Promise<boolean> {
  const [row] = await sql<{ lag: number }[]>`
    select coalesce(sum(end_offset - committed_offset), -1)::integer as lag from sluice.lag where "group" = 'sharers'`;
  return row?.lag === 0 && (await inFlight(sql)) === 0;
}

/**
 * Invariant 15, in one statement and so in one snapshot: every message that was sent is done, dead or waiting, and never two of
 * them. (Waiting: in no range yet, in one and not done, or on its way to another attempt.)
 */
export async function notExactlyOne(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ offset: number; states: string }[]>`
    with sent as (
      select p.position, p."group", p.topic, p.partition, p.next_offset, p.done_above, o as "offset"
      from sluice.position p, generate_series(0, sluice.end_offset(p.topic, p.partition) - 1) o),
    seen as (
      select s."offset",
        s."offset" < s.next_offset or s.done_above @> s."offset" as is_passed,
        (select count(*) from sluice.lease l where l.position = s.position
          and l.from_offset <= s."offset" and l.to_offset > s."offset") as leases,
        coalesce((select bool_or(l.done @> s."offset") from sluice.lease l where l.position = s.position), false) as is_done_in_lease,
        exists (select from sluice.shared_retry r where r.position = s.position and r."offset" = s."offset") as is_retry,
        exists (select from sluice.dead_letter d where d."group" = s."group" and d.topic = s.topic
          and d.partition = s.partition and d."offset" = s."offset") as is_dead
      from sent s)
    select "offset"::integer, concat_ws(', ', case when is_passed then 'passed' end, leases || ' leases',
      case when is_done_in_lease then 'done in its lease' end, case when is_retry then 'to be tried again' end,
      case when is_dead then 'dead' end) as states
    from seen
    where leases > 1 or (is_passed and leases > 0) or (is_retry and is_dead)
      or ((is_retry or is_dead) and not (is_passed or is_done_in_lease))
    order by 1`;
  return rows.map(({ offset, states }) => `offset ${offset}: ${states}`);
}
