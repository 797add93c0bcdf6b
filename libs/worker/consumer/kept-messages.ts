import type { ReadBatch } from "@sluice/log";

/** Characters of messages in memory at most. */
const mostCharacters = 8 * 1_048_576;

/**
 * Messages of a shared group that failed here, so that whoever takes them in hand again in this process need not read a whole batch of the
 * log for each: what was kept last, as long as there is room. What is not here is in the log.
 */
export class KeptMessages {
  readonly #batches = new Map<string, ReadBatch>();
  #characters = 0;

  /** Keeps one record of a batch. */
  keep(partition: number, batch: ReadBatch, index: number): void {
    const offset = batch.baseOffset + index;
    this.take(partition, offset);
    const one = single(batch, index);
    this.#batches.set(nameOf(partition, offset), one);
    this.#characters += one.characters;
    for (const [name, oldest] of this.#batches) {
      if (this.#characters <= mostCharacters) break;
      this.#batches.delete(name);
      this.#characters -= oldest.characters;
    }
  }

  /** Gives a batch of that record alone, if it was kept; from then on it is the caller's. */
  take(partition: number, offset: number): ReadBatch | undefined {
    const name = nameOf(partition, offset);
    const kept = this.#batches.get(name);
    this.#batches.delete(name);
    this.#characters -= kept?.characters ?? 0;
    return kept;
  }
}

function nameOf(partition: number, offset: number): string {
  return `${partition} ${offset}`;
}

/** Its size is that of an average record of the batch. */
function single(batch: ReadBatch, index: number): ReadBatch {
  return {
    baseOffset: batch.baseOffset + index,
    count: 1,
    characters: Math.ceil(batch.characters / (batch.matches?.length ?? batch.count)),
    appendedAtMs: batch.appendedAtMs,
    producer: batch.producer,
    sequence: batch.sequence + index,
    keys: batch.keys === null ? null : [batch.keys[index] ?? null],
    values: [batch.values[index]],
    attributes: batch.attributes === null ? null : [batch.attributes[index] ?? null],
  };
}
