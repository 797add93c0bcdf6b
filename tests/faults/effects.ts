import { type AnyConsumer, consumer, fixed, type HandlerContext, type Topic } from "@sluice/contract";
import { sql as text } from "drizzle-orm";
import type postgres from "postgres";

/** A consumer whose handler writes one row per message, in the transaction of the message's position. */
export function effectWriter(
  topic: Topic<string>,
  options: {
    readonly worker: string;
    readonly mode?: "ordered" | "keyed";
    /** Several messages in one transaction. */
    readonly batch?: { readonly size: number };
    /** Runs between the write and the commit. */
    readonly before?: (context: HandlerContext<string>) => Promise<void>;
  },
): AnyConsumer {
  const common = {
    group: "writers",
    mode: options.mode ?? "ordered",
    commitInterval: 20,
    retry: { attempts: 1_000, backoff: fixed("5ms") },
  } as const;
  const handler = async (context: HandlerContext<string>) => {
    const tx = await context.tx();
    await tx.execute(
      text`insert into public.effect (partition, "offset", worker) values (${context.partition}, ${context.offset}, ${options.worker})`,
    );
    await options.before?.(context);
  };
  if (options.batch === undefined) return consumer(topic, { ...common, handler });
  return consumer(topic, {
    ...common,
    batch: options.batch,
    batchHandler: async ({ messages }) => {
      for (const message of messages) await handler(message);
    },
  });
}

/** The table of effects. It has no unique key: what happens twice must show. */
export async function makeEffectTable(sql: postgres.Sql): Promise<void> {
  await sql`create table public.effect (partition integer not null, "offset" bigint not null, worker text not null)`;
}

/**
 * Invariant 13 in one statement, and so in one snapshot: what is done, by position, marker or range, has exactly one effect,
 * and what is not done, or waits to be handed over again, has none.
 */
export async function inexactEffects(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with done as (
      select p.partition, o as "offset" from sluice.position p, generate_series(0, p.next_offset - 1) o
      union select p.partition, o from sluice.position p, unnest(p.done_above) r, generate_series(lower(r), upper(r) - 1) o
      union select p.partition, d."offset" from sluice.done d join sluice.position p using (position)
      except select p.partition, r."offset" from sluice.retry r join sluice.position p using (position)),
    effects as (select partition, "offset", count(*) as count from public.effect group by 1, 2)
    select format('partition %s, offset %s is %s and has %s effects', partition, "offset",
      case when d.known is null then 'not done' else 'done' end, coalesce(e.count, 0)) as sentence
    from (select *, true as known from done) d full join effects e using (partition, "offset")
    where d.known is distinct from (e.count is not null) or e.count > 1
    order by partition, "offset"`;
  return rows.map(({ sentence }) => sentence);
}

/** How many effects there are. */
export async function effectCount(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::integer from public.effect`;
  return row?.count ?? 0;
}
