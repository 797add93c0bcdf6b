import type { Context } from "hono";
import type { Logger } from "sluice";
import type { Database } from "../database.ts";
import { type Picture, type PictureTopics, pictureLine, readCounts, withRates } from "./picture.ts";

const everyMs = 500;
const mostViewers = 200;

/** What {@link LivePicture} shows. */
export interface LivePictureOptions {
  readonly database: Database;
  readonly logger: Logger;
  readonly topics: PictureTopics;
}

type Viewer = ReadableStreamDefaultController<Uint8Array>;

/**
 * Topics, groups and lag as they move, twice a second, to any number of viewers for one query each time; without viewers
 * nothing is asked.
 */
export class LivePicture {
  readonly #options: LivePictureOptions;
  readonly #viewers = new Set<Viewer>();
  readonly #encoder = new TextEncoder();
  #timer: ReturnType<typeof setInterval> | undefined;
  #looking: Promise<void> | undefined;
  #last: Picture | undefined;
  #isClosed = false;

  constructor(options: LivePictureOptions) {
    this.#options = options;
  }

  /** One look, in one line. */
  async line(): Promise<string> {
    const { database, topics } = this.#options;
    return pictureLine(withRates(await readCounts(database, topics), performance.now(), undefined));
  }

  /** Answers with a stream of server-sent events; each one's data is a {@link Picture} as JSON. */
  stream(c: Context): Response {
    if (this.#isClosed || this.#viewers.size >= mostViewers) return c.json({ error: "too many are looking" }, 503);
    let viewer: Viewer | undefined;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        viewer = controller;
        this.#viewers.add(controller);
        this.#timer ??= setInterval(() => this.#look(), everyMs);
        this.#look();
      },
      cancel: () => {
        if (viewer !== undefined) this.#leave(viewer);
      },
    });
    return new Response(stream, {
      headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" },
    });
  }

  /** Ends all streams and waits for the query under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const viewer of [...this.#viewers]) {
      this.#leave(viewer);
      viewer.close();
    }
    await this.#looking;
  }

  #look(): void {
    this.#looking ??= this.#lookOnce().finally(() => {
      this.#looking = undefined;
    });
  }

  async #lookOnce(): Promise<void> {
    const { database, topics, logger } = this.#options;
    try {
      const counts = await readCounts(database, topics);
      this.#last = withRates(counts, performance.now(), this.#last);
      this.#tell(`data: ${JSON.stringify(this.#last)}\n\n`);
    } catch (error) {
      logger.log("warn", "the live picture could not be read", { error });
      this.#tell("event: trouble\ndata: the database did not answer\n\n");
    }
  }

  #tell(text: string): void {
    const bytes = this.#encoder.encode(text);
    for (const viewer of this.#viewers) {
      // Who reads slowly gets fewer pictures, not older ones.
      if ((viewer.desiredSize ?? 0) > 0) viewer.enqueue(bytes);
    }
  }

  #leave(viewer: Viewer): void {
    this.#viewers.delete(viewer);
    if (this.#viewers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#last = undefined;
  }
}
