import type { ReadBatch } from "@sluice/log";

/** A record by where it lies. */
export interface RecordPlace {
  readonly batch: ReadBatch;
  readonly index: number;
}

/** The offset of a record. */
export function offsetOf({ batch, index }: RecordPlace): number {
  return batch.baseOffset + index;
}

/** Characters of values that are taken at once at most; one record may be larger. */
const takeCharacters = 4 * 1_048_576;

/** Goes through the records of a read, as many at a time as one asks for, whatever batches they came in. */
export class RecordCursor {
  readonly #batches: readonly ReadBatch[];
  #at = 0;
  #index: number;

  /** @param from the first batch may begin below it */
  constructor(batches: readonly ReadBatch[], from: number) {
    this.#batches = batches;
    this.#index = Math.max(0, from - (batches[0]?.baseOffset ?? from));
  }

  /** The offset of the next record, done or not; where the last batch ends when there is none. */
  get next(): number {
    const batch = this.#batches[this.#at];
    const last = this.#batches.at(-1);
    if (batch === undefined) return last === undefined ? 0 : last.baseOffset + last.count;
    return batch.baseOffset + this.#index;
  }

  /** The next records that are not done, at most `most` of them; none at the end. */
  take(most: number, isDone: (offset: number) => boolean): RecordPlace[] {
    const taken: RecordPlace[] = [];
    let characters = 0;
    for (; this.#at < this.#batches.length; this.#at += 1, this.#index = 0) {
      const batch = this.#batches[this.#at] as ReadBatch;
      const each = Math.ceil(batch.characters / batch.count);
      for (; this.#index < batch.count; this.#index += 1) {
        if (isDone(batch.baseOffset + this.#index)) continue;
        if (taken.length > 0 && (taken.length === most || characters + each > takeCharacters)) return taken;
        characters += each;
        taken.push({ batch, index: this.#index });
      }
    }
    return taken;
  }
}
