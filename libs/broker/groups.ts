import { SluiceError } from "@sluice/kernel";
import { arrayLiteral, type Pool, textArrayLiteral } from "@sluice/store";
import type { Assignment, LiveSubscription } from "./assignment.ts";
import { type DeadLetter, deadLetterParameters } from "./dead-letter.ts";
import { groupNumber } from "./group-number.ts";
import { multirangeText, type OffsetRange, parseMultirange } from "./offset-range.ts";
import addDeadLetterStatement from "./sql/add-dead-letter.sql" with { type: "text" };
import commitStatement from "./sql/commit-positions.sql" with { type: "text" };
import ensurePositionsStatement from "./sql/ensure-positions.sql" with { type: "text" };
import positionsStatement from "./sql/group-positions.sql" with { type: "text" };
import subscriptionsStatement from "./sql/live-subscriptions.sql" with { type: "text" };
import releaseStatement from "./sql/release-position.sql" with { type: "text" };
import takeStatement from "./sql/take-position.sql" with { type: "text" };
import type { AssignablePosition } from "./topic-share.ts";

/** A group's position in a partition, with the partition it is about. */
export interface GroupPosition extends AssignablePosition {
  readonly group: number;
  readonly partition: number;
  /** A higher one than an owner's own: the position was taken or moved, and that owner owns it no more. */
  readonly epoch: number;
  /** Nothing is to be handed over at present. */
  readonly paused: boolean;
  /** Messages that were redriven wait for the owner. */
  readonly redriven: boolean;
  /** What had gathered is let go at this rate, over all members; `null`: it is not. */
  readonly releaseMessages: number | null;
  readonly releasePerMs: number | null;
  /** Since when, in milliseconds since 1970. */
  readonly releasedAtMs: number | null;
}

/** What a new owner learns about a position. */
export interface TakenPosition {
  readonly epoch: number;
  readonly nextOffset: number;
  /** Offsets at or above `nextOffset` that are done: `[from, to)`, ascending, apart from each other. */
  readonly doneAbove: readonly OffsetRange[];
  /** Messages below may be why a process ended. */
  readonly suspectTo: number;
  /** Processes that ended while the position was below `suspectTo`. */
  readonly crashes: number;
}

/** A position to be written. */
export interface PositionCommit {
  readonly position: number;
  readonly epoch: number;
  readonly nextOffset: number;
  readonly doneAbove: readonly OffsetRange[];
  /** Messages below this may be in a handler's hands until the position is written again. Default `nextOffset`: none are. */
  readonly handedTo?: number;
}

/** Why an owner gives a position back: it closes, the position is another's by now, it is paused, or somebody moved the position. */
export type LeavingReason = "leave" | "rebalance" | "pause" | "reset";

/** A subscription as the database knows it. */
export interface SurveyedSubscription extends LiveSubscription {
  readonly group: number;
  readonly assignment: Assignment;
}

/** Groups and how far they are. */
export class Groups {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * The number of a group and positions in every partition of a topic, made if they are new.
   *
   * @param start where new ones begin, as `sluice.find_offset` reads it: `earliest`, `latest`, an offset, or a time
   */
  async join(name: string, topic: number, start: string): Promise<number> {
    const what = `joining group ${name}`;
    const group = await groupNumber(this.#pool, what, name);
    await this.#pool.query(what, ensurePositionsStatement, [group, topic, start]);
    return group;
  }

  /** Who takes part in these groups, and what they last owned. */
  async survey(groups: readonly number[]): Promise<{
    readonly subscriptions: readonly SurveyedSubscription[];
    readonly positions: readonly GroupPosition[];
  }> {
    const list = arrayLiteral(groups);
    const [subscriptions, positions] = await Promise.all([
      this.#pool.query<SurveyedSubscription & Readonly<Record<string, unknown>>>(
        "surveying groups",
        subscriptionsStatement,
        [list],
      ),
      this.#pool.query<GroupPosition & Readonly<Record<string, unknown>>>("surveying groups", positionsStatement, [
        list,
      ]),
    ]);
    return { subscriptions, positions };
  }

  /**
   * Takes a position under a new epoch, once everything its last owner had in flight is settled. The new owner may hand
   * `reserve` messages out before it writes the position. Default 0.
   *
   * Fails with FENCED when another member has it that lives by its lease, or by its session where this one has none.
   */
  async take(position: number, member: number, reserve = 0): Promise<TakenPosition> {
    const rows = await this.#pool.query<{
      epoch: string;
      next_offset: string;
      done_above: string;
      suspect_to: string;
      crashes: number;
    }>(`taking position ${position}`, takeStatement, [position, member, reserve]);
    const row = rows[0];
    if (row === undefined) {
      throw new SluiceError("FENCED", `taking position ${position}: another member that lives has it, or it is gone`);
    }
    return {
      epoch: Number(row.epoch),
      nextOffset: Number(row.next_offset),
      doneAbove: parseMultirange(row.done_above),
      suspectTo: Number(row.suspect_to),
      crashes: row.crashes,
    };
  }

  /** Writes positions, each under its epoch, and gives those that were accepted; the others have another owner by now. */
  async commit(commits: readonly PositionCommit[]): Promise<ReadonlySet<number>> {
    if (commits.length === 0) return new Set();
    const ordered = [...commits].sort((a, b) => a.position - b.position);
    const rows = await this.#pool.query<{ position: number }>("committing positions", commitStatement, [
      arrayLiteral(ordered.map(({ position }) => position)),
      arrayLiteral(ordered.map(({ epoch }) => epoch)),
      arrayLiteral(ordered.map(({ nextOffset }) => nextOffset)),
      textArrayLiteral(ordered.map(({ doneAbove }) => multirangeText(doneAbove))),
      arrayLiteral(ordered.map(({ handedTo, nextOffset }) => handedTo ?? nextOffset)),
    ]);
    return new Set(rows.map((row) => row.position));
  }

  /** Gives positions back: nobody owns them, or they wait for their static member (`stays`). */
  async release(
    owned: readonly { readonly position: number; readonly epoch: number }[],
    why: LeavingReason,
    stays = false,
  ): Promise<void> {
    const ordered = [...owned].sort((a, b) => a.position - b.position);
    await this.#pool.query("releasing positions", releaseStatement, [
      arrayLiteral(ordered.map(({ position }) => position)),
      arrayLiteral(ordered.map(({ epoch }) => epoch)),
      why,
      stays,
    ]);
  }

  /** Keeps a message that could not be handled; keeping it again changes nothing. */
  async bury(letter: DeadLetter): Promise<void> {
    await this.#pool.query("keeping a dead letter", addDeadLetterStatement, deadLetterParameters(letter));
  }
}
