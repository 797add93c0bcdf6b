import type { DatabaseClock, DeadLetter } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import type { Clock, Logger } from "@sluice/kernel";
import type { ReadBatch, TopicEntry } from "@sluice/log";
import type { Answers } from "./answers.ts";
import { deadLetterOf } from "./dead-letter.ts";
import { insist } from "./insist.ts";

/** What the expiry of a partition's messages needs. */
export interface ExpiryContext {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  readonly partition: number;
  /** Keeps a dead letter; a message that was done after all has none. */
  readonly letters: { bury(letter: DeadLetter): Promise<unknown> };
  readonly databaseClock: Pick<DatabaseClock, "reached" | "learn">;
  readonly answers: Pick<Answers, "refuse">;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Aborted when the partition is no longer this process's. */
  readonly signal: AbortSignal;
}

/**
 * Decides whether a message may still be handed over. It expires its time to live after the batch was appended, both by the
 * database's clock; a local clock that is wrong takes nothing from anybody.
 */
export class Expiry {
  readonly #context: ExpiryContext;
  readonly #topicMs: number | null;

  constructor(context: ExpiryContext) {
    this.#context = context;
    this.#topicMs = context.entry.guards.timeToLiveMs;
  }

  /** Whether the record has a time to live at all. */
  concerns(batch: ReadBatch, index: number): boolean {
    return this.#topicMs !== null || batch.attributes?.[index]?.timeToLive !== undefined;
  }

  /**
   * Whether the record has expired; then it is kept or forgotten by now, as its consumer wants it, and counts as done. While the
   * database cannot be asked it waits. Fails only when the partition is taken away meanwhile.
   *
   * @param attempt which attempt it is about to be
   */
  async settle(batch: ReadBatch, index: number, attempt: number): Promise<boolean> {
    const timeToLive = batch.attributes?.[index]?.timeToLive ?? this.#topicMs;
    if (timeToLive === null || (await this.#reached()) < batch.appendedAtMs + timeToLive) return false;
    const { consumer, entry, partition, answers, signal, logger } = this.#context;
    logger.log("debug", `a message has expired: ${consumer.onExpired}`, {
      topic: entry.name,
      group: consumer.group,
      partition,
      offset: batch.baseOffset + index,
    });
    if (consumer.onExpired === "dead-letter") await this.#bury(batch, index, timeToLive, attempt - 1);
    await answers.refuse(consumer, batch, index, "expired", signal);
    return true;
  }

  async #reached(): Promise<number> {
    const { databaseClock } = this.#context;
    let reached = databaseClock.reached();
    while (reached === undefined) {
      await this.#insist("asking for the database's time", () => databaseClock.learn());
      reached = databaseClock.reached();
    }
    return reached;
  }

  async #bury(batch: ReadBatch, index: number, timeToLiveMs: number, attempts: number): Promise<void> {
    const { letters, group, entry, partition } = this.#context;
    const error = `not ${attempts === 0 ? "handed over" : "done"} within ${timeToLiveMs} ms of its append`;
    const death = { group, topic: entry.number, partition, reason: "expired", error, attempts } as const;
    const letter = deadLetterOf(batch, index, death);
    await this.#insist("keeping a dead letter", () => letters.bury(letter));
  }

  async #insist(what: string, call: () => Promise<unknown>): Promise<void> {
    const { entry, partition, signal } = this.#context;
    const names = { topic: entry.name, partition };
    if ((await insist(what, this.#context, call, names)) === "stopped") throw signal.reason;
  }
}
