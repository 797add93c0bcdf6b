import type { Database } from "@sluice/app-kit";
import { mostInLine } from "../topics.ts";

/** How a sale stands, as the tables say. */
export interface SaleOnBoard {
  readonly sale: number;
  readonly stock: number;
  readonly inStock: number;
  readonly waitingPlaces: number;
  readonly reserved: number;
  readonly waiting: number;
  readonly paid: number;
  readonly returned: number;
  readonly soldOut: number;
  /** Nothing is left to be had: the web side need not ask the queue any more. */
  readonly isClosed: boolean;
  readonly openedAt: string;
}

/** The newest sales, newest first, and the line. */
export interface BoardState {
  readonly sales: readonly SaleOnBoard[];
  /** Orders that were ever in line; the offset of the next one. */
  readonly appended: number;
  /** Orders that are in line, and how many may be. */
  readonly inLine: number;
  readonly mostInLine: number;
}

const freshMs = 200;

/**
 * Reads how things stand, at most five times a second however many ask: the page's viewers, the buyers' streams, and each order,
 * which is refused without a further question when its sale is closed.
 */
export class Board {
  readonly #database: Database;
  #last: { readonly at: number; readonly state: Promise<BoardState> } | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  /** As it was 200 ms ago at most. */
  look(): Promise<BoardState> {
    const now = performance.now();
    if (this.#last === undefined || now - this.#last.at > freshMs) this.forget();
    this.#last ??= { at: now, state: this.#read() };
    // Who fails is no answer for those who come later.
    this.#last.state.catch(() => this.forget());
    return this.#last.state;
  }

  /** The next look is a new one. */
  forget(): void {
    this.#last = undefined;
  }

  async #read(): Promise<BoardState> {
    const [row] = await this.#database.sql<{ sales: SaleOnBoard[]; appended: number; inLine: number }[]>`
      select coalesce((select json_agg(b order by b.sale desc) from (
          select sale, stock, in_stock as "inStock", waiting_places as "waitingPlaces", reserved, waiting, paid, returned,
            sold_out as "soldOut", is_closed as "isClosed", opened_at as "openedAt"
          from flash_sale.board order by sale desc limit 8) b), '[]') as sales,
        coalesce((select end_offset from sluice.partitions where topic = 'flash-orders'), 0)::float8 as appended,
        coalesce((select depth from sluice.guards where topic = 'flash-orders'), 0)::integer as "inLine"`;
    return { sales: [], appended: 0, inLine: 0, ...row, mostInLine };
  }
}
