import { type GroupPosition, Groups, type PositionCommit, type TakenPosition } from "@sluice/broker";
import type { AnyConsumer, HandlerContext, Topic } from "@sluice/contract";
import { consumer, fixed } from "@sluice/contract";
import type { Pool } from "@sluice/store";
import type { History } from "@sluice/testkit";
import type postgres from "postgres";

/** Groups that note in a history what one worker takes and what it manages to commit. */
export class RecordingGroups extends Groups {
  readonly #history: History;
  readonly #partitions = new Map<number, number>();
  /** The epoch in which this worker has a partition, by partition. */
  readonly epochs = new Map<number, number>();

  constructor(pool: Pool, history: History) {
    super(pool);
    this.#history = history;
  }

  override async survey(groups: readonly number[]): ReturnType<Groups["survey"]> {
    const found = await super.survey(groups);
    for (const { position, partition } of found.positions as readonly GroupPosition[])
      this.#partitions.set(position, partition);
    return found;
  }

  override async take(position: number, member: number, reserve?: number): Promise<TakenPosition> {
    const taken = await super.take(position, member, reserve);
    this.#history.positions.push({ kind: "taken", position, epoch: taken.epoch, nextOffset: taken.nextOffset });
    this.epochs.set(this.#partitions.get(position) ?? -1, taken.epoch);
    return taken;
  }

  override async commit(commits: readonly PositionCommit[]): Promise<ReadonlySet<number>> {
    const begunAfter = this.#history.positions.length - 1;
    const accepted = await super.commit(commits);
    for (const { position, epoch, nextOffset } of commits) {
      if (accepted.has(position))
        this.#history.positions.push({ kind: "committed", position, epoch, nextOffset, begunAfter });
    }
    return accepted;
  }
}

/** One worker's recording: its groups, made by the rig, and a consumer whose handler notes every delivery. */
export interface Recording {
  readonly consumer: AnyConsumer;
  readonly groups: (pool: Pool) => Groups;
}

/** Makes a {@link Recording} of an ordered consumer with short intervals. */
export function recording(
  from: Topic<string>,
  history: History,
  options: {
    readonly group: string;
    readonly handler?: (context: HandlerContext<string>) => void | Promise<void>;
    readonly makeGroups?: (pool: Pool) => RecordingGroups;
  },
): Recording {
  let groups: RecordingGroups | undefined;
  return {
    groups: (pool) => {
      groups = options.makeGroups?.(pool) ?? new RecordingGroups(pool, history);
      return groups;
    },
    consumer: consumer(from, {
      group: options.group,
      commitInterval: 20,
      retry: { attempts: 5, backoff: fixed("10ms") },
      handler: (context) => {
        const { group, partition, offset, value } = context;
        history.deliveries.push({ group, partition, offset, value, epoch: groups?.epochs.get(partition) ?? -1 });
        return options.handler?.(context);
      },
    }),
  };
}

/** One change of a row of sluice.position, as a trigger saw it. */
export interface PositionChange {
  readonly partition: number;
  readonly oldEpoch: number;
  readonly epoch: number;
  readonly oldNextOffset: number;
  readonly nextOffset: number;
}

/** Lets the database note every change of a position, in the order of the row's versions. */
export async function auditPositions(sql: postgres.Sql): Promise<() => Promise<PositionChange[]>> {
  await sql.unsafe(`
    create table public.audit (change bigint generated always as identity, partition integer, old_epoch bigint, epoch bigint,
      old_next_offset bigint, next_offset bigint);
    create function public.note_position() returns trigger language plpgsql as $$
    begin
      insert into public.audit (partition, old_epoch, epoch, old_next_offset, next_offset)
      values (new.partition, old.epoch, new.epoch, old.next_offset, new.next_offset);
      return null;
    end $$;
    create trigger audit after update on sluice.position for each row execute function public.note_position()`);
  return async () =>
    await sql<PositionChange[]>`
      select partition, old_epoch::integer as "oldEpoch", epoch::integer, old_next_offset::integer as "oldNextOffset",
        next_offset::integer as "nextOffset" from public.audit order by change`;
}

/** Invariant 11: positions that went back. */
export function wentBack(changes: readonly PositionChange[]): string[] {
  return changes.flatMap(({ partition, oldNextOffset, nextOffset, epoch }) =>
    nextOffset < oldNextOffset
      ? [`partition ${partition}: the position went from ${oldNextOffset} back to ${nextOffset} in epoch ${epoch}`]
      : [],
  );
}

/** Where the group's positions stand, summed up; for waiting until a group is at the end. */
export async function lagOf(sql: postgres.Sql, group: string): Promise<number> {
  const [row] = await sql<{ lag: number }[]>`
    select (coalesce(sum(end_offset - committed_offset), -1)
      + (select count(*) from sluice.retries where "group" = ${group}))::integer as lag
    from sluice.lag where "group" = ${group}`;
  return row?.lag ?? -1;
}
