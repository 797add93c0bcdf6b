import { randomUUID } from "node:crypto";
import { inboxChannel, type KeptReply, Replies } from "@sluice/broker";
import { type Clock, type Deferred, deferred, type Logger, toError } from "@sluice/kernel";
import { type Pool, Session, type Silence } from "@sluice/store";

/** What an inbox works with. */
export interface InboxContext {
  /** Where it can be rung for; undefined where no session is to be had: answers are found by polling then. */
  readonly sessionUrl: string | undefined;
  /** What tells when calls are never answered. Default: the session's own. */
  readonly silence?: Silence;
  readonly pool: Pool;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Shown in `pg_stat_activity`. */
  readonly name: string;
  /** How often to look for answers that no doorbell told of. */
  readonly pollMs: number;
}

const reconnectMs = 500;
/** Questions that one read asks about, at most. */
const askedTogether = 1_000;

/**
 * Where answers to this process arrive: rows of the database under a name of its own, rung for on a channel of its own. The
 * rows are the truth and the ring is a hint: what waits is looked for now and then, and after every reconnect.
 */
export class Inbox {
  /** Never used before nor again, wherever the database was restored from: answers to others cannot be taken for one's own. */
  readonly name = randomUUID();
  readonly #context: InboxContext;
  readonly #replies: Replies;
  readonly #waiting = new Map<string, Deferred<KeptReply>>();
  /** Of these it is said that there are answers. */
  readonly #rung = new Set<string>();
  #reading: Promise<void> | undefined;
  #session: Session | undefined;
  #opening: Promise<void> | undefined;
  #cancelPoll: (() => void) | undefined;
  #cancelReconnect: (() => void) | undefined;
  #closed = false;

  constructor(context: InboxContext) {
    this.#context = context;
    this.#replies = new Replies(context.pool);
  }

  /** Questions that wait for their answers. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Waits for the answer to a question that is about to be asked, until {@link forget} is called. */
  expect(correlation: string): Deferred<KeptReply> {
    const waiting = deferred<KeptReply>();
    this.#waiting.set(correlation, waiting);
    this.#listen();
    this.#cancelPoll ??= this.#pollLater();
    return waiting;
  }

  /** Nobody waits for this answer any more. */
  forget(correlation: string): void {
    this.#waiting.delete(correlation);
    if (this.#waiting.size > 0) return;
    this.#cancelPoll?.();
    this.#cancelPoll = undefined;
  }

  /** Fails everything that waits, and hears nothing any more. */
  async close(reason: Error): Promise<void> {
    this.#closed = true;
    this.#cancelReconnect?.();
    this.#cancelPoll?.();
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    await this.#opening;
    await this.#session?.close();
    await this.#reading;
  }

  /** Has its doorbell heard, if it is not; without it, answers come by polling. */
  #listen(): void {
    const { sessionUrl } = this.#context;
    if (sessionUrl === undefined || this.#session?.isOpen || this.#cancelReconnect !== undefined || this.#closed)
      return;
    this.#opening ??= this.#open(sessionUrl).finally(() => {
      this.#opening = undefined;
    });
  }

  async #open(sessionUrl: string): Promise<void> {
    const { name, logger, silence } = this.#context;
    try {
      this.#session = await Session.open(sessionUrl, {
        silence,
        applicationName: `${name} inbox`,
        // It holds no lock that anybody waits for, and is silent while nothing is asked.
        leaseMs: 0,
        channel: inboxChannel(this.name),
        onNotify: (correlation) => this.#heard(correlation),
        onLost: () => this.#listenLater(),
      });
      // What was answered before it listened did not ring for it.
      this.#read(this.#waiting.keys());
    } catch (error) {
      logger.log("debug", "an inbox cannot be rung for at present; answers are looked for now and then", {
        error: toError(error),
      });
      this.#listenLater();
    }
  }

  #listenLater(): void {
    if (this.#closed || this.#waiting.size === 0) return;
    this.#cancelReconnect ??= this.#context.clock.after(reconnectMs, () => {
      this.#cancelReconnect = undefined;
      this.#listen();
    });
  }

  #pollLater(): () => void {
    return this.#context.clock.after(this.#context.pollMs, () => {
      this.#cancelPoll = this.#pollLater();
      this.#read(this.#waiting.keys());
    });
  }

  #heard(correlation: string): void {
    if (this.#waiting.has(correlation)) this.#read([correlation]);
  }

  #read(correlations: Iterable<string>): void {
    for (const correlation of correlations) this.#rung.add(correlation);
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined;
      // What was rung for after the last look at what there is.
      if (this.#rung.size > 0 && !this.#closed) this.#read([]);
    });
  }

  /** Reads what was rung for, and hands it to whoever waits. What cannot be read now is found by a poll. */
  async #readAll(): Promise<void> {
    while (this.#rung.size > 0 && !this.#closed) {
      const asked = [...this.#rung].filter((correlation) => this.#waiting.has(correlation)).slice(0, askedTogether);
      if (asked.length === 0) {
        this.#rung.clear();
        return;
      }
      for (const correlation of asked) this.#rung.delete(correlation);
      try {
        const replies = await this.#replies.read(this.name, asked);
        for (const reply of replies) this.#waiting.get(reply.correlation)?.resolve(reply);
        for (const { correlation } of replies) this.forget(correlation);
        // A read gives a part at a time: the rest is asked for again.
        if (replies.length > 0)
          for (const correlation of asked) if (this.#waiting.has(correlation)) this.#rung.add(correlation);
      } catch (error) {
        const trouble = "answers could not be read; they are looked for again";
        this.#context.logger.log("debug", trouble, { error: toError(error) });
        this.#rung.clear();
        return;
      }
    }
  }
}
