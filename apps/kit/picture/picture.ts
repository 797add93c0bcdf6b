import type { Database } from "../database.ts";

/** A topic, as the picture shows it. */
export interface TopicPicture {
  readonly name: string;
  /** In the log at present. */
  readonly messages: number;
  /** Ever appended: the sum of its partitions' end offsets. */
  readonly appended: number;
  readonly perSecond: number;
  /** Whether a schedule sends to it. */
  readonly isTicking: boolean;
}

/** A group in a topic. */
export interface GroupPicture {
  readonly group: string;
  readonly topic: string;
  readonly lag: number;
  /** Ever done: what was appended, less the lag. */
  readonly done: number;
  readonly perSecond: number;
  /** Failed, and to be tried again. */
  readonly retrying: number;
  readonly deadLetters: number;
  readonly isPaused: boolean;
  /** Whether somebody works on it. */
  readonly isOwned: boolean;
}

/** All of it at one moment. */
export interface Picture {
  readonly at: number;
  readonly topics: readonly TopicPicture[];
  readonly groups: readonly GroupPicture[];
}

type Counts = {
  readonly topics: readonly Omit<TopicPicture, "perSecond">[];
  readonly groups: readonly Omit<GroupPicture, "perSecond">[];
};

/** Which topics are looked at, in their order; `others`: and then every other one. */
export interface PictureTopics {
  readonly topics: readonly string[];
  readonly others: boolean;
}

/** Reads all of it in one statement. */
export async function readCounts({ sql }: Database, { topics, others }: PictureTopics): Promise<Counts> {
  const [row] = await sql<Counts[]>`
    select
      (select coalesce(json_agg(t order by array_position(${topics}::text[], t.name), t.name), '[]') from (
        select topic as name, sum(messages)::bigint as messages, sum(end_offset)::bigint as appended,
          exists (select from sluice.schedules s where s.topic = p.topic) as "isTicking"
        from sluice.partitions p where ${others} or topic = any(${topics}) group by topic) t) as topics,
      (select coalesce(json_agg(g order by g."group"), '[]') from (
        select l."group", l.topic, sum(l.lag)::bigint as lag, (sum(l.end_offset) - sum(l.lag))::bigint as done,
          (select count(*) from sluice.retries r where r."group" = l."group" and r.topic = l.topic)
            + (select count(*) from sluice.shared_retries r where r."group" = l."group" and r.topic = l.topic) as retrying,
          (select count(*) from sluice.dead_letters d where d."group" = l."group" and d.topic = l.topic) as "deadLetters",
          bool_and(l.paused_since is not null) as "isPaused", bool_or(l.owner is not null) as "isOwned"
        from sluice.lag l where ${others} or l.topic = any(${topics}) group by l."group", l.topic) g) as groups`;
  return row ?? { topics: [], groups: [] };
}

/** The counts with what became of them since the last look, as rates per second. */
export function withRates(counts: Counts, at: number, before: Picture | undefined): Picture {
  const seconds = before === undefined ? 0 : (at - before.at) / 1_000;
  const rate = (now: number, then: number | undefined) =>
    then === undefined || seconds <= 0 ? 0 : Math.max(0, Math.round((now - then) / seconds));
  const topics = counts.topics.map((topic) => {
    const then = before?.topics.find((one) => one.name === topic.name);
    return { ...topic, perSecond: rate(topic.appended, then?.appended) };
  });
  const groups = counts.groups.map((group) => {
    const then = before?.groups.find((one) => one.group === group.group && one.topic === group.topic);
    return { ...group, perSecond: rate(group.done, then?.done) };
  });
  return { at, topics, groups };
}

/** The picture in one line, for a terminal; without what ticks by the clock, which would be news every few seconds. */
export function pictureLine({ topics, groups }: Picture): string {
  return topics
    .filter((topic) => !topic.isTicking)
    .map((topic) => {
      const own = groups.filter((group) => group.topic === topic.name);
      const behind = own.map(({ group, lag, deadLetters }) =>
        deadLetters === 0 ? `${group} ${lag}` : `${group} ${lag} (dead ${deadLetters})`,
      );
      return `${topic.name} ${topic.appended}${behind.length === 0 ? "" : `: ${behind.join(", ")}`}`;
    })
    .join(" · ");
}
