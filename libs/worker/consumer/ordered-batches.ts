import type { Batching } from "@sluice/contract";
import type { ReadBatch } from "@sluice/log";
import { type BatchEntry, deliverTogether } from "./batch-delivery.ts";
import type { DeliveryOwner, Outcome } from "./delivery.ts";
import { Gathering } from "./gathering.ts";
import type { Progress } from "./progress.ts";

/** What batches of an ordered partition work with. */
export interface OrderedBatchesContext {
  readonly owner: DeliveryOwner;
  readonly progress: Progress;
  /** Resolves when the partition is not paused, with whether anything may still be begun. */
  readonly mayBegin: () => Promise<boolean>;
  /** Does work that a stop waits for. */
  readonly run: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** Hands one over by itself, until it is over. */
  readonly handle: (batch: ReadBatch, index: number) => Promise<void> | undefined;
  /** One was handed over and is not done: sees to it until it is over. */
  readonly settle: (batch: ReadBatch, index: number, outcome: Outcome) => Promise<void>;
}

/** Hands the records of an ordered partition over in batches, and those that are not done then one by one, in their order. */
export class OrderedBatches {
  readonly #context: OrderedBatchesContext;
  readonly #gathering: Gathering<BatchEntry & { readonly characters: number }>;

  constructor({ size, waitMs }: Batching<unknown>, context: OrderedBatchesContext) {
    this.#context = context;
    this.#gathering = new Gathering(size, waitMs);
  }

  /** How long what was gathered may still wait for more; 0 when it is time, `undefined` when there is nothing. */
  get remainingMs(): number | undefined {
    return this.#gathering.remainingMs;
  }

  /**
   * Adds a record. A promise when the next one must wait until this one is over.
   *
   * @param isAlone it is to be part of no batch, and comes after those that were gathered before it
   */
  add(batch: ReadBatch, index: number, isAlone: boolean): Promise<void> | undefined {
    if (isAlone) return this.#handleAlone(batch, index);
    const characters = Math.ceil(batch.characters / (batch.matches?.length ?? batch.count));
    const enough = this.#gathering.add({ batch, index, characters });
    return enough === undefined ? undefined : this.#handleTogether(enough);
  }

  /** Hands over what was gathered. Resolves when all of it is over, or nothing begins any more. */
  async flush(): Promise<void> {
    await this.#handleTogether(this.#gathering.take());
  }

  async #handleAlone(batch: ReadBatch, index: number): Promise<void> {
    await this.flush();
    if (await this.#context.mayBegin()) await this.#context.handle(batch, index);
  }

  async #handleTogether(entries: readonly BatchEntry[]): Promise<void> {
    const { owner, progress, mayBegin, run, handle, settle } = this.#context;
    if (entries.length === 0 || !(await mayBegin())) return;
    const outcomes = await run(() => deliverTogether(owner, entries));
    const left: [BatchEntry, Outcome | "alone"][] = [];
    for (const [at, entry] of entries.entries()) {
      const outcome = outcomes[at] as Outcome | "alone";
      if (outcome !== "alone" && outcome.kind === "done") progress.done(entry.batch.baseOffset + entry.index);
      else left.push([entry, outcome]);
    }
    for (const [{ batch, index }, outcome] of left) {
      if (!(await mayBegin())) return;
      if (outcome === "alone") await handle(batch, index);
      else await settle(batch, index, outcome);
    }
  }
}
