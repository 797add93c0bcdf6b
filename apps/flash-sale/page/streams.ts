import type { Database } from "@sluice/app-kit";
import type { Context } from "hono";
import type { Logger } from "sluice";
import type { Order } from "../topics.ts";
import type { Board } from "./board.ts";
import type { Desk } from "./desk.ts";
import { readStandings, type Standing } from "./standing.ts";

const everyMs = 250;
const heartbeatMs = 5_000;
const mostStreams = 1_000;
const mostOfOneBuyer = 8;

interface Stream {
  readonly order: Order;
  readonly wantsBoard: boolean;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  told: string;
  toldAt: number;
}

/** What {@link Streams} tells of. */
export interface StreamParts {
  readonly database: Database;
  readonly board: Board;
  readonly desk: Desk;
  readonly logger: Logger;
}

/**
 * Tells each buyer where they stand as soon as it changes, and the page how the sale goes: server-sent events, four times a second,
 * for one query about all buyers together. Without streams nothing is asked. Who reads slowly gets fewer events, not older ones.
 */
export class Streams {
  readonly #parts: StreamParts;
  readonly #streams = new Set<Stream>();
  readonly #encoder = new TextEncoder();
  #timer: ReturnType<typeof setInterval> | undefined;
  #telling: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  /** Answers with the stream of this buyer's order; with the board, if that is wanted, too. */
  open(c: Context, order: Order, wantsBoard: boolean): Response {
    const own = [...this.#streams].filter((stream) => stream.order.buyer === order.buyer).length;
    if (this.#isClosed || own >= mostOfOneBuyer || this.#streams.size >= mostStreams) {
      return c.json({ error: "too many are looking" }, 503);
    }
    let stream: Stream | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        stream = { order, wantsBoard, controller, told: "", toldAt: 0 };
        this.#streams.add(stream);
        this.#timer ??= setInterval(() => this.#tell(), everyMs);
        this.#tell();
      },
      cancel: () => {
        if (stream !== undefined) this.#leave(stream);
      },
    });
    const headers = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" };
    return new Response(body, { headers });
  }

  /** Ends all streams and waits for the query under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stream of [...this.#streams]) {
      this.#leave(stream);
      stream.controller.close();
    }
    await this.#telling;
  }

  #tell(): void {
    this.#telling ??= this.#tellOnce()
      .catch((error: unknown) => this.#parts.logger.log("warn", "buyers could not be told where they stand", { error }))
      .finally(() => {
        this.#telling = undefined;
      });
  }

  async #tellOnce(): Promise<void> {
    const { database, board, desk } = this.#parts;
    const streams = [...this.#streams];
    const standings = await readStandings(
      database,
      streams.map(({ order }) => order),
    );
    const state = streams.some(({ wantsBoard }) => wantsBoard) ? await board.look() : undefined;
    const now = performance.now();
    const boardText = `event: board\ndata: ${JSON.stringify({ at: now, ...state, ...desk.counts })}\n\n`;
    for (const [index, stream] of streams.entries()) {
      const text = ownText(standings[index]);
      const isNew = text !== stream.told;
      if (!isNew && !stream.wantsBoard && now - stream.toldAt < heartbeatMs) continue;
      if (!this.#streams.has(stream) || (stream.controller.desiredSize ?? 0) <= 0) continue;
      stream.controller.enqueue(
        this.#encoder.encode(`${isNew ? text : ": still here\n\n"}${stream.wantsBoard ? boardText : ""}`),
      );
      stream.told = text;
      stream.toldAt = now;
    }
  }

  #leave(stream: Stream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function ownText(standing: Standing | undefined): string {
  // The page counts the time to pay down by itself: not every tick is news.
  const { state = "none", place = null, payWithinMs = null } = standing ?? {};
  const rounded = payWithinMs === null ? null : Math.ceil(payWithinMs / 1_000) * 1_000;
  return `event: order\ndata: ${JSON.stringify({ state, place, payWithinMs: rounded })}\n\n`;
}
