import { isSluiceError, type Sluice } from "sluice";
import { type Order, orders } from "../topics.ts";
import type { Board } from "./board.ts";

/** What a buyer hears at once. */
export type Answer = "in-line" | "sold-out" | "no-such-sale";

/** What came since the process began: of this process alone, for refusals leave no trace in the database. */
export interface Counts {
  arrived: number;
  taken: number;
  refused: number;
}

/** For how long a full line is taken to be still full. */
const stillFullMs = 50;

/** Takes orders: into the line, or "sold out" at once. */
export class Desk {
  readonly counts: Counts = { arrived: 0, taken: 0, refused: 0 };
  readonly #sluice: Pick<Sluice, "send">;
  readonly #board: Board;
  #fullUntil = 0;

  constructor(sluice: Pick<Sluice, "send">, board: Board) {
    this.#sluice = sluice;
    this.#board = board;
  }

  /**
   * One order. A buyer who is in line already hears the same place again.
   *
   * The bound is the database's: it decides about each message that is sent, under a lock, so it holds exactly for however many
   * processes. This asks it less often than buyers ask here: not when the sale is closed, and not for a few milliseconds
   * after it has said that the line is full. Both only ever refuse sooner.
   */
  async take(order: Order): Promise<Answer> {
    this.counts.arrived += 1;
    const sale = (await this.#board.look()).sales.find((one) => one.sale === order.sale);
    if (sale === undefined) return "no-such-sale";
    if (sale.isClosed || performance.now() < this.#fullUntil) return this.#refuse();
    try {
      await this.#sluice.send(orders, order);
      this.counts.taken += 1;
      return "in-line";
    } catch (error) {
      if (!isSluiceError(error, "QUEUE_FULL")) throw error;
      this.#fullUntil = performance.now() + stillFullMs;
      return this.#refuse();
    }
  }

  #refuse(): Answer {
    this.counts.refused += 1;
    return "sold-out";
  }
}
