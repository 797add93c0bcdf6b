import { isSluiceError, type Sluice } from "sluice";
import { type Order, orders } from "../topics.ts";
import type { Board, BoardState } from "./board.ts";

/** What a buyer hears at once. */
export type Answer = "in-line" | "sold-out" | "no-such-sale";

/** What came since the process began: of this process alone, for refusals leave no trace in the database. */
export interface Counts {
  arrived: number;
  taken: number;
  refused: number;
}

/** Takes orders: into the line, or "sold out" at once. */
export class Desk {
  readonly counts: Counts = { arrived: 0, taken: 0, refused: 0 };
  readonly #sluice: Pick<Sluice, "send">;
  readonly #board: Board;
  /** How many places are left to give out of those that were free at this look at the line. */
  #places = 0;
  #placesAt: BoardState | undefined;

  constructor(sluice: Pick<Sluice, "send">, board: Board) {
    this.#sluice = sluice;
    this.#board = board;
  }

  /**
   * Whether an order of this sale has no chance, from memory alone: the sale was closed at the last look, or all places in line that
   * were free then are given out. That may be 200 ms ago, and only ever refuses sooner. Who has a chance, or is not known
   * to have none, is to be {@link take}n.
   */
  refuses(sale: number): boolean {
    const board = this.#board.recent;
    if (board === undefined || !this.#isHopeless(board, sale)) return false;
    this.counts.arrived += 1;
    this.counts.refused += 1;
    return true;
  }

  /**
   * One order. A buyer who is in line already hears the same place again.
   *
   * The bound is the database's: it decides about each message that is sent, under a lock, so it holds exactly for however many
   * processes.
   */
  async take(order: Order): Promise<Answer> {
    this.counts.arrived += 1;
    const board = this.#board.recent ?? (await this.#board.look());
    if (!board.sales.some(({ sale }) => sale === order.sale)) return "no-such-sale";
    if (this.#isHopeless(board, order.sale)) return this.#refuse();
    this.#places -= 1;
    try {
      await this.#sluice.send(orders, order);
      this.counts.taken += 1;
      return "in-line";
    } catch (error) {
      if (!isSluiceError(error, "QUEUE_FULL")) throw error;
      this.#places = 0;
      return this.#refuse();
    }
  }

  #isHopeless(board: BoardState, sale: number): boolean {
    if (board !== this.#placesAt) [this.#placesAt, this.#places] = [board, board.mostInLine - board.inLine];
    const found = board.sales.find((one) => one.sale === sale);
    return found !== undefined && (found.isClosed || this.#places <= 0);
  }

  #refuse(): Answer {
    this.counts.refused += 1;
    return "sold-out";
  }
}
