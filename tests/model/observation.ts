import type postgres from "postgres";
import type { BrokerModel } from "./broker-model.ts";
import type { GroupModel, PositionModel } from "./group-model.ts";
import type { Message } from "./log-model.ts";

/** What people can ask their queues, in rows: from the public views of the database, or from the model. */
export interface Observation {
  /** partition, offset, id, key, value */
  readonly log: readonly Row[];
  /** partition, start, end */
  readonly partitions: readonly Row[];
  /** group, partition, committed, end, lag, owner, epoch, paused */
  readonly lag: readonly Row[];
  /** group, lag, paused partitions */
  readonly groups: readonly Row[];
  /** group, partition (null: all) */
  readonly pauses: readonly Row[];
  /** group, partition, offset, id, key, value, attempt, hours until due (null: in hand), what it blocks */
  readonly retries: readonly Row[];
  /** group, partition, offset, id, key, value, reason, attempts, redrives */
  readonly deadLetters: readonly Row[];
  /** group, partition, offset, id, key, value, attempts, redrives */
  readonly redriven: readonly Row[];
  /** id, partition, key, value, hours until due */
  readonly delayed: readonly Row[];
  /** group/partition/offset */
  readonly effects: readonly string[];
  /** Messages of committed transactions that are not in the log yet, and those for which a bounded topic had no room. */
  readonly outbox: number;
  readonly held: number;
  /** Of a topic with a guard. */
  readonly depth: number | null;
  readonly segments: number;
}

type Row = readonly (string | number | boolean | null)[];

/** What the model says that there is to see. */
export function expected(model: BrokerModel): Observation {
  const { log, now } = model;
  const groups = [...model.groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const each = <Result>(rows: (group: GroupModel, position: PositionModel) => readonly Result[]): Result[] =>
    groups.flatMap((group) => group.positions.flatMap((position) => rows(group, position)));
  const lagOf = ({ partition, next, noted }: PositionModel) => log.end(partition) - next - noted.size;
  return {
    log: log.partitions.flatMap((messages, partition) =>
      messages.flatMap((message, offset) =>
        offset < log.start(partition) ? [] : [[partition, offset, ...wordsOf(message)]],
      ),
    ),
    partitions: log.partitions.map((_, partition) => [partition, log.start(partition), log.end(partition)]),
    lag: each((group, position) => {
      const { partition, next, owner, epoch } = position;
      return [
        [group.name, partition, next, log.end(partition), lagOf(position), owner, epoch, group.isPaused(partition)],
      ];
    }),
    groups: groups.map((group) => [
      group.name,
      group.positions.reduce((sum, position) => sum + lagOf(position), 0),
      group.positions.filter(({ partition }) => group.isPaused(partition)).length,
    ]),
    pauses: groups.flatMap(({ name, pauses }) =>
      [...pauses].map((pause) => [name, pause === "all" ? null : pause]).sort(byText),
    ),
    retries: each(({ name }, { partition, retries }) =>
      byOffset(retries).map(([offset, { message, attempt, dueAt, blocks }]) => [
        ...[name, partition, offset, ...wordsOf(message)],
        ...[attempt, dueAt === null ? null : dueAt - now, blocks],
      ]),
    ),
    deadLetters: each(({ name, letters }, { partition }) =>
      byOffset(
        new Map(
          [...letters]
            .filter(([place]) => place.startsWith(`${partition}/`))
            .map(([place, letter]) => [Number(place.split("/")[1]), letter]),
        ),
      ).map(([offset, { message, reason, attempts, redrives }]) => [
        ...[name, partition, offset, ...wordsOf(message)],
        ...[reason, attempts, redrives],
      ]),
    ),
    redriven: each(({ name }, { partition, redriven }) =>
      byOffset(redriven).map(([offset, { message, attempts, redrives }]) => [
        ...[name, partition, offset, ...wordsOf(message)],
        ...[attempts, redrives],
      ]),
    ),
    delayed: model.delayed
      .map(({ draft: { partition, key, value }, id, dueAt }) => [id, partition, key, value, dueAt - now])
      .sort(byText),
    effects: [...model.effects].sort(),
    outbox: model.outbox,
    held: model.held,
    depth: log.guard === undefined ? null : model.depth,
    segments: log.segments,
  };
}

function wordsOf({ id, key, value }: Message): [string, string | null, string] {
  return [id, key, value];
}

function byOffset<Entry>(entries: ReadonlyMap<number, Entry>): [number, Entry][] {
  return [...entries].sort(([a], [b]) => a - b);
}

function byText(a: Row, b: Row): number {
  return String(a) < String(b) ? -1 : 1;
}

/** What the database shows of a topic. */
export async function observed(sql: postgres.Sql, topic: string, effects: string): Promise<Observation> {
  const message = (row: string) => `${row}."offset", ${row}.id, ${row}.key, ${row}.value #>> '{}'`;
  const due = (row: string) => `round(extract(epoch from ${row}.due - clock_timestamp()) / 3600)::integer`;
  const rows = (columns: string, from: string, order: string) =>
    `(select coalesce(json_agg(json_build_array(${columns}) order by ${order}), '[]') from ${from})`;
  // Names of groups begin with the topic's, so that each run has its own.
  const group = `substr(x."group", length($1) + 2)`;
  const place = `${group}, x.partition`;
  const log = `select ${rows(`x.partition, ${message("x")}`, `topics.${topic} x`, `x.partition, x."offset"`)} as log`;
  // The same text for every topic, so that it is planned once.
  const rest = `select json_build_object(
    'partitions', ${rows("x.partition, x.start_offset, x.end_offset", `sluice.partitions x where x.topic = $1`, "x.partition")},
    'lag', ${rows(`${place}, x.committed_offset, x.end_offset, x.lag, x.owner, x.epoch, x.paused_since is not null`, `sluice.lag x where x.topic = $1`, place)},
    'groups', ${rows(`${group}, x.lag, x.paused_partitions`, `sluice.groups x where x.topic = $1`, `x."group"`)},
    'pauses', ${rows(place, `sluice.pauses x where x."group" like $1 || ' %'`, `x."group", x.partition nulls first`)},
    'retries', ${rows(`${place}, ${message("x")}, x.attempt, ${due("x")}, x.blocks`, `sluice.retries x where x.topic = $1`, `${place}, x."offset"`)},
    'deadLetters', ${rows(`${place}, ${message("x")}, x.reason, x.attempts, x.redrives`, `sluice.dead_letters x where x.topic = $1`, `${place}, x."offset"`)},
    'redriven', ${rows(`${place}, ${message("x")}, x.attempts, x.redrives`, `sluice.redriven_messages x where x.topic = $1`, `${place}, x."offset"`)},
    'delayed', ${rows(`x.id, x.partition, x.key, x.value #>> '{}', ${due("x")}`, `sluice.delayed_messages x where x.topic = $1`, `x.id collate "C"`)},
    'effects', (select coalesce(json_agg(x.place order by x.place collate "C"), '[]') from ${effects} x where x.topic = $1),
    'outbox', (select count(*) from sluice.outbox x join sluice.topic t using (topic) where t.name = $1),
    'held', (select count(*) from sluice.held x join sluice.topic t using (topic) where t.name = $1),
    'depth', (select x.depth from sluice.guards x where x.topic = $1),
    'segments', (select x.segments from sluice.topics x where x.name = $1)) as observation`;
  const [[messages], [row]] = await Promise.all([
    sql.unsafe<Pick<Observation, "log">[]>(log),
    sql.unsafe<{ observation: Omit<Observation, "log"> }[]>(rest, [topic], { prepare: true }),
  ]);
  if (row === undefined || messages === undefined) throw new Error("the database gave no observation");
  return { ...messages, ...row.observation };
}
