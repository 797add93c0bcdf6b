import type { Doorbell } from "@sluice/broker";
import type { AnyConsumer, AnyTopic, HandlerContext, HandlerTransaction, Stage, StageInput } from "@sluice/contract";
import { type Clock, isSluiceError, type Logger, SluiceError, toError } from "@sluice/kernel";
import type { HandlerTransactions, OpenTransaction } from "../consumer/handler-transaction.ts";
import { pause } from "../consumer/pause.ts";
import { isGuarded } from "../producer/guarded-producer.ts";
import { appendGuardedWithin } from "./append-guarded-within.ts";
import { appendWithin } from "./append-within.ts";
import { offsetOf, type RecordPlace } from "./record-cursor.ts";
import { SharedInput } from "./stage-input.ts";
import { type StageAppend, StageOutputs, type StageTopic } from "./stage-outputs.ts";

/** A stage with its topics as the database knows them. */
export interface OpenStage {
  readonly stage: Stage;
  readonly topics: ReadonlyMap<AnyTopic, StageTopic>;
}

/** Where a stage runs. */
export interface StageHome {
  readonly partition: number;
  readonly position: number;
  readonly epoch: number;
  readonly transactions: HandlerTransactions;
  readonly doorbell: Doorbell;
  readonly logger: Logger;
}

/** How long a message waits that found a bounded topic full, and with it those that come after it. */
const fullPauseMs = 100;

type Rings = readonly { readonly topic: number; readonly partitions: readonly number[] }[];

/**
 * A stage at work on one position under one epoch. Several messages share a transaction; those of one that failed are
 * handed over one by one by the partition's consumer, whose handler this is, so that the one that fails is alone and its
 * attempts count.
 *
 * How many share one begins at 1 and doubles: after a crash the next owner is down to single messages where the one before
 * ended, so that a message that ends the process is found, too.
 */
export class StageRunner {
  /** The stage's consumer, with the handler for a message by itself. */
  readonly consumer: AnyConsumer;
  readonly #stage: Stage;
  readonly #topics: ReadonlyMap<AnyTopic, StageTopic>;
  readonly #home: StageHome;
  /** By offset: what to ring for once the message's own transaction has committed. */
  readonly #unrung = new Map<number, Rings>();
  #size = 1;
  /** When a message found a topic full that it produces to, and none has found room since. */
  #fullAt = Number.NEGATIVE_INFINITY;

  constructor({ stage, topics }: OpenStage, home: StageHome) {
    this.#stage = stage;
    this.#topics = topics;
    this.#home = home;
    this.consumer = { ...stage.consumer, handler: (context) => this.#handleOne(context) };
  }

  /** Resolves when a message may be handled by itself: not while the last one found a bounded topic full a moment ago. */
  async ready(clock: Clock, signal: AbortSignal): Promise<void> {
    const waitMs = this.#fullAt + fullPauseMs - performance.now();
    if (waitMs > 0) await pause(clock, waitMs, signal);
  }

  /** Messages that may be handled together now. */
  get size(): number {
    return this.#size;
  }

  /**
   * Handles several messages in one transaction: all of them are done, or nothing has happened, and they are left to be handed
   * over one by one. Never rejects.
   */
  async handleTogether(places: readonly RecordPlace[], signal: AbortSignal): Promise<"done" | "left" | "fenced"> {
    const outcome = places.length === 1 ? "left" : await this.#tryTogether(places, signal);
    this.#size = outcome === "done" || places.length === 1 ? Math.min(this.#size * 2, this.#stage.batch) : 1;
    return outcome;
  }

  async #tryTogether(places: readonly RecordPlace[], signal: AbortSignal): Promise<"done" | "left" | "fenced"> {
    const { transactions, position, epoch, partition, doorbell, logger } = this.#home;
    let opening: Promise<OpenTransaction> | undefined;
    let ended = false;
    const open = () => {
      if (ended) throw new SluiceError("CLOSED", "c.tx() was called after the stage's transaction had ended");
      opening ??= transactions.open();
      return opening;
    };
    const { group, topic } = this.consumer;
    try {
      const tx = async () => (await open()).tx as HandlerTransaction;
      const home = { topic: topic.name, group, partition, signal, tx };
      const inputs = places.map(
        ({ batch, index }) => new SharedInput(home, batch, index, topic.codec.decode(batch.values[index])),
      );
      const outputs = await this.#map(inputs, tx);
      const appends = outputs.appends();
      const transaction = await open();
      ended = true;
      const rings = await this.#append(transaction, appends);
      const marked = await transaction.commitAll(position, epoch, places.map(offsetOf));
      // Some were done before, by a commit whose answer was lost: one by one, each is told so.
      if (marked !== "done") return marked === "fenced" ? "fenced" : "left";
      for (const ring of rings) doorbell.ringLog(ring.topic, ring.partitions);
      return "done";
    } catch (error) {
      ended = true;
      // One that failed to open has nothing to undo.
      await (await opening?.catch(() => undefined))?.rollback();
      if (isSluiceError(error, "FENCED")) return "fenced";
      const fields = { topic: topic.name, group, partition, messages: places.length, error: toError(error) };
      logger.log("info", "a stage's transaction failed; its messages are handed over one by one", fields);
      return "left";
    }
  }

  /** A message's own transaction has committed. */
  committed(offset: number): void {
    for (const { topic, partitions } of this.#unrung.get(offset) ?? []) this.#home.doorbell.ringLog(topic, partitions);
    this.#unrung.delete(offset);
  }

  /** One message in its own transaction, which is marked and committed after this. */
  async #handleOne(context: HandlerContext<unknown>): Promise<void> {
    const tx = () => context.tx();
    const outputs = await this.#map([context], tx);
    const appends = outputs.appends();
    this.#unrung.delete(context.offset);
    // Also when there is nothing to append: the position commits with it, so that the stage is exact either way.
    const transaction = { tx: (await tx()) as OpenTransaction["tx"] };
    try {
      this.#unrung.set(context.offset, await this.#append(transaction, appends));
      this.#fullAt = Number.NEGATIVE_INFINITY;
    } catch (error) {
      if (!isSluiceError(error, "QUEUE_FULL")) throw error;
      // Nobody's failure: it costs no attempt, and undoes the transaction.
      this.#fullAt = performance.now();
      context.release(fullPauseMs);
    }
  }

  async #map(inputs: readonly StageInput<unknown>[], tx: () => Promise<HandlerTransaction>): Promise<StageOutputs> {
    const { map, mapBatch } = this.#stage;
    const outputs = new StageOutputs(this.#stage, this.#topics, this.#home.position);
    if (mapBatch !== undefined) {
      outputs.add(await mapBatch(inputs, await tx()), inputs[0]?.offset ?? 0);
    } else if (map !== undefined) {
      for (const input of inputs) outputs.add(await map(input), input.offset);
    }
    return outputs;
  }

  /** Appends in the order of the locks, and gives what is left to be rung for when it is committed. */
  async #append({ tx }: Pick<OpenTransaction, "tx">, appends: readonly StageAppend[]): Promise<Rings> {
    const rings: { topic: number; partitions: readonly number[] }[] = [];
    for (const append of appends) {
      const topic = append.topic.number;
      const partitions = append.entries.map(({ partition }) => partition);
      const riding = this.#home.doorbell.tryRide(topic, partitions);
      await (isGuarded(append.topic) ? appendGuardedWithin : appendWithin)(tx, append, riding);
      if (riding === null) rings.push({ topic, partitions });
    }
    return rings;
  }
}
