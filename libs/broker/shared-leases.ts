import { SluiceError } from "@sluice/kernel";
import { arrayLiteral, type Pool, type StatementParameter, textArrayLiteral } from "@sluice/store";
import { multirangeText, type OffsetRange, parseMultirange } from "./offset-range.ts";
import acknowledgeStatement from "./sql/acknowledge-leases.sql" with { type: "text" };
import leaseStatement from "./sql/lease-ranges.sql" with { type: "text" };
import leaseUrgentStatement from "./sql/lease-urgent-ranges.sql" with { type: "text" };
import moveAllStatement from "./sql/move-all-to-retry.sql" with { type: "text" };
import pauseStatement from "./sql/move-and-pause.sql" with { type: "text" };
import moveStatement from "./sql/move-to-retry.sql" with { type: "text" };
import releaseStatement from "./sql/release-leases.sql" with { type: "text" };
import positionsStatement from "./sql/shared-positions.sql" with { type: "text" };
import takeOverStatement from "./sql/take-over-leases.sql" with { type: "text" };

/** A partition of a shared group, and how it stands. */
export interface SharedPosition {
  readonly position: number;
  readonly partition: number;
  /** Raised when the position is moved: what was leased before is void. */
  readonly epoch: number;
  /** Nothing is to be handed over at present. */
  readonly paused: boolean;
  /** Messages that were redriven wait. */
  readonly redriven: boolean;
  /** What is being let go at a rate: how many messages in how long, since when (in milliseconds since 1970); `null`: nothing is. */
  readonly releaseMessages: number | null;
  readonly releasePerMs: number | null;
  readonly releasedAtMs: number | null;
}

/** A group that is to be paused in a topic, by name, and why. */
export interface TopicPause {
  readonly group: string;
  readonly topic: string;
  readonly reason: string;
}

/** A range of offsets that a member may work on. */
export interface Lease {
  /** The right to write in its name; changes with its holder. */
  readonly lease: number;
  readonly position: number;
  readonly from: number;
  /** The first offset beyond it. */
  readonly to: number;
  readonly done: readonly OffsetRange[];
  /** How often it came back from a member that died or froze. */
  readonly deliveries: number;
}

/** What is to be written of a lease. */
export interface LeaseAcknowledgement {
  readonly lease: number;
  readonly position: number;
  /** What is done of it; `null`: all of it. */
  readonly done: readonly OffsetRange[] | null;
}

/** A message to be moved out of its lease. */
export interface MovedMessage {
  readonly position: number;
  readonly lease: number;
  readonly offset: number;
  readonly attempt: number;
  readonly delayMs: number;
  readonly error: string | null;
  readonly key: string | null;
  /** Whether a transaction of its handler may have committed, and only the answer was lost. Then the database is asked first. */
  readonly mayBeDone: boolean;
}

/** What became of moving a message: see sluice.move_to_retry. */
export type MoveOutcome = "moved" | "done" | "fenced";

interface LeaseRow {
  readonly [name: string]: unknown;
  readonly lease: string | null;
  readonly position: number;
  readonly from_offset: string;
  readonly to_offset: string;
  readonly done?: string;
  readonly deliveries?: number;
}

/** The leases of shared groups: migrations/0011_shared.sql holds the other half. */
export class SharedLeases {
  readonly #pool: Pool;
  readonly #leaseMs: number;

  /** @param leaseMs how long a lease holds without being renewed */
  constructor(pool: Pool, leaseMs: number) {
    this.#pool = pool;
    this.#leaseMs = leaseMs;
  }

  /** A group's positions in a topic. */
  async positions(group: number, topic: number): Promise<readonly SharedPosition[]> {
    return await this.#pool.query<SharedPosition & { readonly [name: string]: unknown }>(
      "looking up positions",
      positionsStatement,
      [group, topic],
    );
  }

  /**
   * The next range of each of the first `count` positions, given most urgent first, that have something. What was found may
   * have been leased by another member meanwhile, so there may be fewer leases than positions.
   */
  async leaseUrgent(
    member: number,
    positions: readonly number[],
    count: number,
    most: number,
  ): Promise<{ readonly found: readonly number[]; readonly leases: readonly Lease[] }> {
    const parameters = [member, arrayLiteral(positions), count, most, this.#leaseMs];
    const rows = await this.#pool.query<LeaseRow>("leasing messages", leaseUrgentStatement, parameters);
    return {
      found: rows.map(({ position }) => position),
      leases: rows.filter(({ lease }) => lease !== null).map(toLease),
    };
  }

  /** The next range of each position, at most `most` offsets long; none for a position that has no more. */
  async lease(member: number, positions: readonly number[], most: number): Promise<readonly Lease[]> {
    const rows = await this.#pool.query<LeaseRow>("leasing messages", leaseStatement, [
      member,
      arrayLiteral(positions),
      most,
      this.#leaseMs,
    ]);
    return rows.map(toLease);
  }

  /** Ranges that nobody works on any more. */
  async takeOver(member: number, positions: readonly number[], most: number): Promise<readonly Lease[]> {
    const rows = await this.#pool.query<LeaseRow>("taking leases over", takeOverStatement, [
      member,
      arrayLiteral(positions),
      most,
      this.#leaseMs,
    ]);
    return rows.map(toLease);
  }

  /** Writes what is done, renews, and gives the leases that were accepted; the others are another member's by now. */
  async acknowledge(acknowledgements: readonly LeaseAcknowledgement[]): Promise<ReadonlySet<number>> {
    const rows = await this.#pool.query<{ lease: string }>("acknowledging messages", acknowledgeStatement, [
      arrayLiteral(acknowledgements.map(({ lease }) => lease)),
      arrayLiteral(acknowledgements.map(({ position }) => position)),
      textArrayLiteral(acknowledgements.map(({ done }) => (done === null ? null : multirangeText(done)))),
      this.#leaseMs,
    ]);
    return new Set(rows.map(({ lease }) => Number(lease)));
  }

  /** Gives leases back: the next member that looks takes them, and it costs their messages no attempt. */
  async release(leases: readonly number[]): Promise<void> {
    await this.#pool.query("giving leases back", releaseStatement, [arrayLiteral(leases)]);
  }

  /** Moves a message out of its lease: to wait, or into this member's hand at once, which counts as an attempt. */
  async move(
    message: MovedMessage,
    member: number | null,
  ): Promise<{ readonly outcome: MoveOutcome; readonly claim: number }> {
    return await this.#move("putting a message off", moveStatement, [...parametersOf(message, member, this.#leaseMs)]);
  }

  /** Moves messages out of their leases, to wait until they are tried again. One outcome for each, in order; once more changes nothing. */
  async moveAll(messages: readonly MovedMessage[]): Promise<readonly MoveOutcome[]> {
    const rows = await this.#pool.query<{ number: number; outcome: MoveOutcome }>(
      "putting messages off",
      moveAllStatement,
      [
        arrayLiteral(messages.map(({ position }) => position)),
        arrayLiteral(messages.map(({ lease }) => lease)),
        arrayLiteral(messages.map(({ offset }) => offset)),
        arrayLiteral(messages.map(({ attempt }) => attempt)),
        arrayLiteral(messages.map(({ delayMs }) => delayMs)),
        textArrayLiteral(messages.map(({ error }) => error)),
        textArrayLiteral(messages.map(({ key }) => key)),
        arrayLiteral(messages.map(({ mayBeDone }) => mayBeDone)),
      ],
    );
    const outcomes = messages.map((): MoveOutcome => "moved");
    for (const { number, outcome } of rows) outcomes[number - 1] = outcome;
    return outcomes;
  }

  /** Moves a message out of its lease, to begin anew when its group is resumed, which is paused with it. */
  async moveAndPause(message: MovedMessage, { group, topic, reason }: TopicPause): Promise<MoveOutcome> {
    const parameters = [...parametersOf(message, null, this.#leaseMs), group, topic, reason];
    return (await this.#move("pausing a group", pauseStatement, parameters)).outcome;
  }

  async #move(
    what: string,
    statement: string,
    parameters: readonly StatementParameter[],
  ): Promise<{ readonly outcome: MoveOutcome; readonly claim: number }> {
    const rows = await this.#pool.query<{ outcome: MoveOutcome; claim: string | null }>(what, statement, parameters);
    const row = rows[0];
    if (row === undefined) throw new SluiceError("INTERNAL", `${what}: the database gave no answer`);
    return { outcome: row.outcome, claim: Number(row.claim ?? 0) };
  }
}

function parametersOf(message: MovedMessage, member: number | null, leaseMs: number): readonly StatementParameter[] {
  const { position, lease, offset, attempt, delayMs, error, key } = message;
  return [position, lease, offset, attempt, delayMs, error, key, member, leaseMs];
}

function toLease(row: LeaseRow): Lease {
  return {
    lease: Number(row.lease),
    position: row.position,
    from: Number(row.from_offset),
    to: Number(row.to_offset),
    done: parseMultirange(row.done ?? "{}"),
    deliveries: row.deliveries ?? 0,
  };
}
