import { type Place, placeText, type RateLimit, rateLimitProblems, timeMs } from "@sluice/contract";
import { limits, type Problem, parseDurationMs, problemsError } from "@sluice/kernel";
import { arrayLiteral, type Pool } from "@sluice/store";
import cloneStatement from "./sql/clone-group.sql" with { type: "text" };
import consumeAgainStatement from "./sql/consume-again.sql" with { type: "text" };
import listStatement from "./sql/list-groups.sql" with { type: "text" };
import pauseStatement from "./sql/pause-group.sql" with { type: "text" };
import releaseStatement from "./sql/release-group.sql" with { type: "text" };
import resetStatement from "./sql/reset-position.sql" with { type: "text" };
import resumeStatement from "./sql/resume-group.sql" with { type: "text" };
import shiftStatement from "./sql/shift-position.sql" with { type: "text" };

/** How positions are moved. */
export interface MoveOptions {
  /** Tells what would happen, and changes nothing. Default false. */
  readonly dryRun?: boolean;
  /**
   * Also where members are at work; default false: GROUP_ACTIVE then. By force, what they have in flight is void (nothing of
   * it commits with its position), and they go on from the new place.
   */
  readonly force?: boolean;
}

/** As {@link MoveOptions}, for some partitions of a topic. */
export interface PartitionMoveOptions extends MoveOptions {
  /** Default all. */
  readonly partitions?: readonly number[];
}

/** One partition's part in moving a group. */
export interface PositionMove {
  readonly topic: string;
  readonly partition: number;
  /** `null` for a position that a dry run found missing. */
  readonly from: number | null;
  readonly to: number;
  /** Messages that the group will not handle. */
  readonly skipped: number;
  /** Messages that it handles once more. */
  readonly repeated: number;
  /** What is worth saying: that the place was outside of the log, that members are at work. */
  readonly note: string | null;
}

/** What of a group is paused or resumed: all of it, a topic, or one partition of that. */
export interface PauseScope {
  readonly topic?: string;
  readonly partition?: number;
}

/** What is resumed, and how fast what has gathered goes. */
export interface ResumeOptions extends PauseScope {
  /**
   * Over all members, for what lies in the log now: it takes the place of the limits that consumers declare, until all of that is
   * done. Default: as fast as the consumers may. Not for a single partition.
   */
  readonly rate?: Pick<RateLimit, "messages" | "per">;
  /** When the rate ends even if not all is done. */
  readonly until?: Date | string | number;
}

/** A group in a topic, as sluice.groups shows it. */
export interface GroupStatus {
  readonly group: string;
  readonly topic: string;
  readonly partitions: number;
  readonly ownedPartitions: number;
  readonly workingMembers: number;
  /** Messages that are not done. */
  readonly lag: number;
  readonly pausedPartitions: number;
  /** Since when (milliseconds since 1970), by whom and why, the longest pause; `undefined` when nothing is paused. */
  readonly paused: { readonly since: number; readonly by: string; readonly reason: string | null } | undefined;
}

interface MoveRow {
  readonly [name: string]: unknown;
  readonly topic: string;
  readonly partition: number;
  readonly from_offset: string | null;
  readonly to_offset: string;
  readonly skipped: string;
  readonly repeated: string;
  readonly note: string | null;
}

/** Where groups stand, and whether they work. Every act is in sluice.audits, written in its transaction. */
export class GroupAdministration {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Every group in every topic, with its lag and its pauses. */
  async list(): Promise<readonly GroupStatus[]> {
    const rows = await this.#pool.query<{
      group: string;
      topic: string;
      partitions: number;
      owned_partitions: number;
      working_members: number;
      lag: number;
      paused_partitions: number;
      paused_since_ms: string | null;
      paused_by: string | null;
      paused_reason: string | null;
    }>("listing groups", listStatement);
    return rows.map((row) => ({
      group: row.group,
      topic: row.topic,
      partitions: row.partitions,
      ownedPartitions: row.owned_partitions,
      workingMembers: row.working_members,
      lag: row.lag,
      pausedPartitions: row.paused_partitions,
      paused:
        row.paused_since_ms === null
          ? undefined
          : { since: Number(row.paused_since_ms), by: row.paused_by ?? "", reason: row.paused_reason },
    }));
  }

  /**
   * Moves a group in a topic to a place, and resolves with what that means for each partition. A place outside of the log
   * is moved to its start or end. What waited to be tried again is forgotten; dead letters and redriven messages stay.
   *
   * Fails with UNKNOWN_GROUP, UNKNOWN_TOPIC, or GROUP_ACTIVE while members are at work; nothing was moved then.
   *
   * @example
   * await sluice.groups.reset("welcome", "signups", { time: "2026-01-31T00:00:00Z" }, { dryRun: true })
   */
  async reset(
    group: string,
    topic: string,
    to: Place,
    options: PartitionMoveOptions = {},
  ): Promise<readonly PositionMove[]> {
    const text = placeText(to);
    if (text === undefined) {
      throw problemsError("INVALID_OPTIONS", `group ${group} was not moved:`, [
        { path: "to", message: 'must be "earliest", "latest", { offset } or { time }' },
      ]);
    }
    return await this.#move(`resetting group ${group}`, resetStatement, [group, topic, text], options);
  }

  /** As {@link reset}, by a number of messages in each partition; negative goes back. */
  async shift(
    group: string,
    topic: string,
    by: number,
    options: PartitionMoveOptions = {},
  ): Promise<readonly PositionMove[]> {
    if (!Number.isSafeInteger(by)) {
      throw problemsError("INVALID_OPTIONS", `group ${group} was not moved:`, [
        { path: "by", message: "must be a whole number of messages" },
      ]);
    }
    return await this.#move(`shifting group ${group}`, shiftStatement, [group, topic, by], options);
  }

  /**
   * Moves a group, made if it is new, to where another one is, in all of that one's topics. What that one has done above its
   * position, out of order, is handed over again.
   */
  async clone(from: string, to: string, options: MoveOptions = {}): Promise<readonly PositionMove[]> {
    const problems: Problem[] = from === to ? [{ path: "to", message: "is the group itself" }] : [];
    if (problems.length > 0) throw problemsError("INVALID_OPTIONS", `group ${from} was not cloned:`, problems);
    const { dryRun = false, force = false } = options;
    return moves(await this.#pool.query<MoveRow>(`cloning group ${from}`, cloneStatement, [from, to, dryRun, force]));
  }

  /**
   * Pauses a group, a topic of it, or a partition, until {@link resume}, whatever restarts: its members hand over nothing
   * more, finish what runs, and keep their partitions. They hear of it at once, or within half a second. Resolves with
   * whether it was not paused so before.
   */
  async pause(group: string, options: PauseScope & { readonly reason?: string } = {}): Promise<boolean> {
    refuseScope(group, options, [
      ...((options.reason ?? "").length <= 1_000
        ? []
        : [{ path: "reason", message: "has more than 1,000 characters" }]),
    ]);
    const { topic = null, partition = null, reason = null } = options;
    const rows = await this.#pool.query<{ paused: boolean }>(`pausing group ${group}`, pauseStatement, [
      group,
      topic,
      partition,
      reason,
    ]);
    return rows[0]?.paused === true;
  }

  /**
   * Ends pauses of a group: all, those of a topic and its partitions, or that of a partition; a wider one holds on. Resolves
   * with how many were ended. A partition that paused itself (`onExhausted: "pause"`) tries its message again.
   *
   * With a `rate`, what has gathered by now goes at that rate over all members until it is done; resuming without one ends that
   * rate. Fails with UNKNOWN_GROUP for a broadcast, which has no position that could say when it is done.
   *
   * @example
   * await sluice.groups.pause("report")
   * // … messages gather: sluice.groups.list() tells how many …
   * await sluice.groups.resume("report", { rate: { messages: 500, per: "1s" } })
   */
  async resume(group: string, options: ResumeOptions = {}): Promise<number> {
    const untilMs = options.until === undefined ? null : timeMs(options.until);
    refuseScope(group, options, rateProblems(options, untilMs));
    const { topic = null, partition = null, rate } = options;
    if (rate !== undefined) {
      const perMs = parseDurationMs(rate.per) ?? 0;
      const parameters = [group, topic, rate.messages, perMs, untilMs ?? null];
      const what = `resuming group ${group} at a rate`;
      const released = await this.#pool.query<{ ended: number }>(what, releaseStatement, parameters);
      return released[0]?.ended ?? 0;
    }
    const rows = await this.#pool.query<{ ended: number }>(`resuming group ${group}`, resumeStatement, [
      group,
      topic,
      partition,
    ]);
    return rows[0]?.ended ?? 0;
  }

  /**
   * Hands one message of the log to a group once more, on whichever member owns its partition; its position does not move.
   * `waiting`: it waits already. `gone`: it is not in the log (any more, or yet).
   */
  async consumeAgain(
    group: string,
    topic: string,
    partition: number,
    offset: number,
  ): Promise<"redriven" | "waiting" | "gone"> {
    refuseScope(group, { topic, partition }, [
      ...(Number.isSafeInteger(offset) && offset >= 0 ? [] : [{ path: "offset", message: "must be an offset" }]),
    ]);
    const rows = await this.#pool.query<{ outcome: "redriven" | "waiting" | "gone" }>(
      `consuming again in group ${group}`,
      consumeAgainStatement,
      [group, topic, partition, offset],
    );
    return rows[0]?.outcome ?? "gone";
  }

  async #move(
    what: string,
    statement: string,
    parameters: readonly (string | number)[],
    { partitions, dryRun = false, force = false }: PartitionMoveOptions,
  ): Promise<readonly PositionMove[]> {
    if (partitions?.some((partition) => !isPartition(partition)) === true) {
      throw problemsError("INVALID_OPTIONS", `${what}: nothing was moved:`, [
        { path: "partitions", message: "must be numbers of partitions" },
      ]);
    }
    const list = partitions === undefined ? null : arrayLiteral(partitions);
    return moves(await this.#pool.query<MoveRow>(what, statement, [...parameters, list, dryRun, force]));
  }
}

const isPartition = (value: unknown) =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) < limits.partitions;

function refuseScope(group: string, { topic, partition }: PauseScope, more: readonly Problem[] = []): void {
  const problems = [
    ...(partition === undefined || isPartition(partition)
      ? []
      : [{ path: "partition", message: "must be the number of a partition" }]),
    ...(partition === undefined || topic !== undefined
      ? []
      : [{ path: "partition", message: "needs the topic that it belongs to" }]),
    ...more,
  ];
  if (problems.length > 0) throw problemsError("INVALID_OPTIONS", `group ${group} was not changed:`, problems);
}

function rateProblems({ rate, partition, until }: ResumeOptions, untilMs: number | null | undefined): Problem[] {
  const problems = rateLimitProblems(rate, "ordered").map(({ path, message }) => ({
    path: path.replace("rateLimit", "rate"),
    message,
  }));
  if (rate !== undefined && partition !== undefined) {
    problems.push({ path: "partition", message: "has no rate of its own: give a topic, or none" });
  }
  if (until !== undefined && untilMs === undefined) problems.push({ path: "until", message: "must be a time" });
  if (until !== undefined && rate === undefined)
    problems.push({ path: "until", message: "needs a rate that ends then" });
  return problems;
}

function moves(rows: readonly MoveRow[]): readonly PositionMove[] {
  return rows.map((row) => ({
    topic: row.topic,
    partition: row.partition,
    from: row.from_offset === null ? null : Number(row.from_offset),
    to: Number(row.to_offset),
    skipped: Number(row.skipped),
    repeated: Number(row.repeated),
    note: row.note,
  }));
}
