import type { PutOff } from "@sluice/broker";
import type { Outcome } from "./delivery.ts";
import { keptBatch, keptMessageAt, lifetimeAt } from "./kept-batch.ts";
import type { PutOffMessage } from "./put-off-message.ts";
import type { RetryKeeper } from "./retry-keeper.ts";
import type { Task } from "./task.ts";

/** Characters of messages in memory at most; what is above is read again when its turn has come. */
const mostCharacters = 8 * 1_048_576;

const fenced: Outcome = { kind: "fenced" };

/**
 * The messages of one partition that were put off. Each has a row, and the row decides: what an attempt is counted in, and what another
 * owner goes on from. In memory they are as well, as long as there is room, so that nobody has to read them again.
 */
export class PutOffMessages {
  readonly #keeper: RetryKeeper;
  #count = 0;
  #characters = 0;

  constructor(keeper: RetryKeeper) {
    this.#keeper = keeper;
  }

  get count(): number {
    return this.#count;
  }

  /** A task's message has a row from now on, or another one than before; without `message` it is in the database alone. */
  add(task: Task, message?: PutOffMessage): void {
    task.record = undefined;
    if (!task.isPutOff) this.#count += 1;
    task.isPutOff = true;
    task.isAlone = true;
    this.#drop(task);
    if (message !== undefined) {
      task.attempt = message.attempt;
      task.error = message.error;
    }
    const characters = charactersOf(message);
    if (this.#characters + characters > mostCharacters) return;
    task.putOff = message;
    this.#characters += characters;
  }

  /** Counts the attempt that is about to be made. Gives what became of it where none is: it is done already, or another's. */
  async begin(task: Task): Promise<Outcome | undefined> {
    const { putOff, offset } = task;
    if (putOff === undefined) return await this.#read(task);
    const attempt = putOff.attempt + 1;
    const outcome = await this.#keeper.count(offset, attempt);
    if (outcome !== "counted") return outcome === "gone" ? { kind: "done" } : fenced;
    task.attempt = attempt;
    task.record = { batch: keptBatch(putOff.message, putOff.message), index: 0 };
    return undefined;
  }

  /** An attempt that was counted is not made after all: it waits again, due at once, as if nobody had begun it. */
  async giveBack({ record, attempt, error = "" }: Task, blocks: PutOff["blocks"]): Promise<void> {
    if (record === undefined) return;
    const { batch, index } = record;
    const message = { ...keptMessageAt(batch, index), ...lifetimeAt(batch, index) };
    await this.#keeper.putOff({
      ...message,
      isFirst: false,
      attempt: attempt - 1,
      delayMs: 0,
      blocks,
      error,
      mayBeDone: true,
    });
  }

  /** A message is over: its row goes. */
  async end(task: Task): Promise<"over" | "fenced" | "stopped"> {
    const outcome = await this.#keeper.end(task.offset);
    this.#count -= 1;
    this.#drop(task);
    return outcome;
  }

  async #read(task: Task): Promise<Outcome | undefined> {
    const begun = await this.#keeper.begin(task.offset, task.attempt + 1);
    if (begun === undefined) return { kind: "done" };
    if (begun === "fenced" || begun === "stopped") return fenced;
    this.add(task, { message: begun, attempt: begun.attempt - 1, error: begun.error });
    task.attempt = begun.attempt;
    task.record = { batch: keptBatch(begun, begun), index: 0 };
    return undefined;
  }

  #drop(task: Task): void {
    this.#characters -= charactersOf(task.putOff);
    task.putOff = undefined;
  }
}

function charactersOf(kept: PutOffMessage | undefined): number {
  if (kept === undefined) return 0;
  const { key, value, headers } = kept.message;
  let characters = value.length + (key?.length ?? 0);
  for (const name in headers) characters += name.length + (headers[name]?.length ?? 0);
  return characters;
}
