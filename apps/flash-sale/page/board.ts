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
  /** Orders that are in line, and how many may be. */
  readonly inLine: number;
  readonly mostInLine: number;
}

const freshMs = 200;
const recentMs = 1_000;

/**
 * Reads how things stand, at most five times a second however many ask: the page's viewers, the buyers' streams, and each order.
 * While nobody asks, nothing is read.
 */
export class Board {
  readonly #database: Database;
  #last: { readonly at: number; readonly state: BoardState } | undefined;
  #reading: { readonly at: number; readonly state: Promise<BoardState> } | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  /** As it was 200 ms ago at most. */
  look(): Promise<BoardState> {
    const now = performance.now();
    if (this.#reading !== undefined && now - this.#reading.at <= freshMs) return this.#reading.state;
    const reading = { at: now, state: this.#read() };
    this.#reading = reading;
    reading.state.then(
      (state) => {
        // One that was forgotten meanwhile, or overtaken, says nothing new.
        if (this.#reading === reading) this.#last = { at: now, state };
      },
      // A failure is no answer for those who come later.
      () => {
        if (this.#reading === reading) this.#reading = undefined;
      },
    );
    return reading.state;
  }

  /**
   * What is known without waiting: as it was a second ago at most, and as a rule 200 ms, since this looks again. Undefined when nobody
   * has looked for that long.
   */
  get recent(): BoardState | undefined {
    // Its failure is told to whoever waits for a look.
    this.look().catch(() => undefined);
    return this.#last !== undefined && performance.now() - this.#last.at <= recentMs ? this.#last.state : undefined;
  }

  /** The next look is a new one. */
  forget(): void {
    this.#last = undefined;
    this.#reading = undefined;
  }

  async #read(): Promise<BoardState> {
    const [row] = await this.#database.sql<{ sales: SaleOnBoard[]; inLine: number }[]>`
      select coalesce((select json_agg(b order by b.sale desc) from (
          select sale, stock, in_stock as "inStock", waiting_places as "waitingPlaces", reserved, waiting, paid, returned,
            sold_out as "soldOut", is_closed as "isClosed", opened_at as "openedAt"
          from flash_sale.board order by sale desc limit 8) b), '[]') as sales,
        coalesce((select depth from sluice.guards where topic = 'flash-orders'), 0)::integer as "inLine"`;
    return { sales: [], inLine: 0, ...row, mostInLine };
  }
}
