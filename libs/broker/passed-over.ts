import { arrayLiteral, type Pool } from "@sluice/store";
import { multirangeText, type OffsetRange } from "./offset-range.ts";
import passOverStatement from "./sql/pass-over.sql" with { type: "text" };
import passOverSharedStatement from "./sql/pass-over-shared.sql" with { type: "text" };

/** What a position of a shared group passed over. */
export interface SharedPass {
  readonly position: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Counts messages that groups pass over because a bounded topic dropped them to make room: each of them once, whatever dies or is
 * repeated. migrations/0016_bounds.sql holds the other half.
 */
export class PassedOver {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** The owner of a position passes over messages that it had not begun. */
  async pass(position: number, epoch: number, ranges: readonly OffsetRange[]): Promise<"passed" | "fenced"> {
    const rows = await this.#pool.query<{ counted: string | null }>(
      "passing over dropped messages",
      passOverStatement,
      [position, epoch, multirangeText(ranges)],
    );
    return (rows[0]?.counted ?? null) === null ? "fenced" : "passed";
  }

  /** A shared group passes over what nobody has leased. */
  async passShared(positions: readonly number[]): Promise<readonly SharedPass[]> {
    const rows = await this.#pool.query<{ position: number; from_offset: string; to_offset: string }>(
      "passing over dropped messages",
      passOverSharedStatement,
      [arrayLiteral(positions)],
    );
    return rows.map((row) => ({
      position: row.position,
      from: Number(row.from_offset),
      to: Number(row.to_offset),
    }));
  }
}
