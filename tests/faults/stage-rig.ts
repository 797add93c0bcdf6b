import { fixed, outgoing, partitionOfKey, type StageInput, stage, type Topic } from "@sluice/contract";
import { eventually, History } from "@sluice/testkit";
import type { OpenStage } from "@sluice/worker";
import { sql as text } from "drizzle-orm";
import type postgres from "postgres";
import { lagOf } from "../invariants/recording-groups.ts";
import { type Rig, sendMany, type WorkerRig } from "../invariants/rig.ts";

/** Two topics, and a stage from one to the other that writes a row and makes as many messages as the offset says. */
export interface StageRig {
  readonly from: Topic<string>;
  /** A worker with the stage, unless told otherwise. */
  start(
    options: Partial<WorkerRig> & { readonly name: string; readonly before?: Before; readonly batch?: number },
  ): Promise<void>;
  /** Sends to one partition. */
  send(count: number, partition: number): Promise<void>;
  /** Resolves when the stage has done everything. */
  atEnd(): Promise<void>;
}

/** Runs between a message's row and what map returns for it. */
type Before = (input: StageInput<string>, worker: string) => Promise<void>;

/** Of each message: none, one or two. */
const outputsOf = (offset: number) => offset % 3;

/** Makes a {@link StageRig}. */
export async function openStageRig(rig: Rig, partitions: number): Promise<StageRig> {
  await rig.sql`create table public.effect (partition integer not null, "offset" bigint not null, worker text not null)`;
  const { topic: from, entry } = await rig.topic("raw", partitions);
  const target = await rig.topic("made", 3);
  const producer = await rig.producer();
  const declare = (worker: string, batch: number, before: Before | undefined): OpenStage => ({
    stage: stage({
      from,
      to: target.topic,
      group: "maker",
      batch,
      commitInterval: 20,
      retry: { attempts: 1_000, backoff: fixed("5ms") },
      map: async (input) => {
        const { partition, offset } = input;
        const tx = await input.tx();
        await tx.execute(
          text`insert into public.effect (partition, "offset", worker) values (${partition}, ${offset}, ${worker})`,
        );
        await before?.(input, worker);
        return Array.from({ length: outputsOf(offset) }, (_, number) =>
          outgoing(target.topic, `${partition}-${offset}-${number}`, { key: `${offset}-${number}` }),
        );
      },
    }),
    topics: new Map([
      [
        target.topic,
        { entry: target.entry, pickPartition: ({ key }) => partitionOfKey(key ?? "", target.entry.partitions) },
      ],
    ]),
  });
  return {
    from,
    async start({ before, batch = 16, ...options }) {
      const open = declare(options.name, batch, before);
      await rig.worker({ entry, consumer: open.stage.consumer, stage: open, ...options });
    },
    send: (count, partition) =>
      sendMany(producer, from, new History(), { sender: `p${partition}`, count, partition, inFlight: 10 }),
    atEnd: async () => {
      await eventually("the stage is at the end", async () => (await lagOf(rig.sql, "maker")) === 0, 40_000);
    },
  };
}

/**
 * Invariant 13 for stages, in one statement and so in one snapshot: what is done, by position, marker or range, has exactly one
 * row and one set of messages, and what is not done has none.
 */
export async function inexactStages(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with done as (
      select p.partition, o as "offset" from sluice.position p, generate_series(0, p.next_offset - 1) o
      union select p.partition, o from sluice.position p, unnest(p.done_above) r, generate_series(lower(r), upper(r) - 1) o
      union select p.partition, d."offset" from sluice.done d join sluice.position p using (position)
      except select p.partition, r."offset" from sluice.retry r join sluice.position p using (position)),
    effects as (select partition, "offset", count(*) as rows from public.effect group by 1, 2),
    made as (
      select split_part(value #>> '{}', '-', 1)::integer as partition, split_part(value #>> '{}', '-', 2)::bigint as "offset",
        count(*) as messages, count(distinct value #>> '{}') as kinds
      from topics.made group by 1, 2),
    whole as (
      select partition, "offset", coalesce(d.known, false) as done, coalesce(e.rows, 0) as rows, coalesce(m.messages, 0) as messages,
        coalesce(m.kinds, 0) as kinds
      from (select *, true as known from done) d
      full join effects e using (partition, "offset") full join made m using (partition, "offset"))
    select format('partition %s, offset %s is %s, with %s rows and %s messages', partition, "offset",
      case when done then 'done' else 'not done' end, rows, messages) as sentence
    from whole
    where rows <> done::integer or messages <> case when done then "offset" % 3 else 0 end or kinds <> messages
    order by partition, "offset"`;
  return rows.map(({ sentence }) => sentence);
}

/** How many rows the stage has written. */
export async function stageRows(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::integer from public.effect`;
  return row?.count ?? 0;
}
