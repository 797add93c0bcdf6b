import type { AppendEntry } from "./log.ts";

/**
 * Where this process last appended to each partition. The server looks for a partition's last batch from there on instead of
 * reading a page of its index; a hint that is wrong, or that nobody has, costs that reading and nothing else.
 */
export class AppendHints {
  /** By topic, then by partition; at most as many numbers as there are partitions. */
  readonly #offsets = new Map<number, number[]>();

  /** For each entry where a batch of its partition begins, 0 where none is known. */
  of(topic: number, entries: readonly AppendEntry[]): readonly number[] {
    const offsets = this.#offsets.get(topic);
    return entries.map(({ partition }) => offsets?.[partition] ?? 0);
  }

  /** Notes where the batches of these entries begin. */
  note(topic: number, entries: readonly AppendEntry[], firsts: readonly number[]): void {
    let offsets = this.#offsets.get(topic);
    if (offsets === undefined) {
      offsets = [];
      this.#offsets.set(topic, offsets);
    }
    // A repeat answers with an older place: a lower bound all the same.
    for (const [index, { partition }] of entries.entries()) offsets[partition] = firsts[index] as number;
  }
}
