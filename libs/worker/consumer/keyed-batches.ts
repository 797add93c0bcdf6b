import type { Batching } from "@sluice/contract";
import type { Clock } from "@sluice/kernel";
import { deliverTogether } from "./batch-delivery.ts";
import type { DeliveryOwner, Outcome } from "./delivery.ts";
import { TimedGathering } from "./gathering.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import type { Task } from "./task.ts";

/** What batches of a keyed partition work with. */
export interface KeyedBatchesContext {
  readonly owner: DeliveryOwner;
  readonly clock: Clock;
  /** Resolves when the partition is not paused, with whether anything may still be begun. */
  readonly mayBegin: () => Promise<boolean>;
  /** So many are in a handler's hands from now on, each until `settle` or `ended` is called for it. */
  readonly began: (tasks: number) => void;
  readonly ended: () => void;
  readonly settle: (task: Task, outcome: Outcome) => void;
  readonly queue: Pick<KeyedQueue<Task>, "putOff" | "resume">;
}

/** Hands tasks over together whose turn has come. Each holds its key, so no two of a batch have the same. */
export class KeyedBatches {
  readonly #context: KeyedBatchesContext;
  readonly #gathering: TimedGathering<Task>;

  constructor(batching: Batching<unknown>, context: KeyedBatchesContext) {
    this.#context = context;
    const begin = (tasks: readonly Task[]) => void this.#begin(tasks);
    this.#gathering = new TimedGathering(batching.size, batching.waitMs, context.clock, begin);
  }

  add(task: Task): void {
    this.#gathering.add(task);
  }

  /** Hands over nothing any more. */
  stop(): void {
    this.#gathering.stop();
  }

  async #begin(tasks: readonly Task[]): Promise<void> {
    const { mayBegin, began, owner, settle } = this.#context;
    if (!(await mayBegin())) return;
    began(tasks.length);
    const entries = tasks.flatMap(({ record }) => record ?? []);
    const outcomes = await deliverTogether(owner, entries);
    for (const [at, task] of tasks.entries()) {
      const outcome = outcomes[at] as Outcome | "alone";
      if (outcome === "alone") this.#tryAlone(task);
      else settle(task, outcome);
    }
  }

  /** Its batch failed and nobody knows because of whom: it waits for a place again, to be handed over by itself. */
  #tryAlone(task: Task): void {
    task.isAlone = true;
    this.#context.queue.putOff(task);
    this.#context.queue.resume(task);
    this.#context.ended();
  }
}
