import type { OffsetRange } from "@sluice/broker";

/** Offsets of a page, and words that hold a bit for each. */
const pageOffsets = 4_096;
const pageWords = pageOffsets / 32;

/**
 * Offsets that lie close together: a bit for each, in pages that exist where something is. A hash set of the same cost a fifth of a
 * consumer's time as soon as one message was held up while the others went on.
 */
export class OffsetSet {
  readonly #pages = new Map<number, Int32Array>();
  #number = -1;
  #page: Int32Array | undefined;
  #highest = -1;

  /** The highest one in it since it was cleared; -1: it is empty. */
  get highest(): number {
    return this.#highest;
  }

  add(offset: number): void {
    const page = this.#at(offset) ?? this.#make(Math.floor(offset / pageOffsets));
    const within = offset % pageOffsets;
    page[within >> 5] = (page[within >> 5] ?? 0) | (1 << (within & 31));
    if (offset > this.#highest) this.#highest = offset;
  }

  has(offset: number): boolean {
    if (offset > this.#highest) return false;
    const within = offset % pageOffsets;
    return (((this.#at(offset)?.[within >> 5] ?? 0) >>> (within & 31)) & 1) === 1;
  }

  /** The first offset from `from` on that is not in it. */
  firstAbsent(from: number): number {
    let offset = from;
    while (offset <= this.#highest) {
      const page = this.#at(offset);
      if (page === undefined) return offset;
      const within = offset % pageOffsets;
      const absent = ~(page[within >> 5] ?? 0) >>> (within & 31);
      if (absent !== 0) return offset + trailingZeros(absent);
      offset += 32 - (within & 31);
    }
    return offset;
  }

  /** Its offsets from `from` on as ranges, ascending, apart from each other. */
  rangesFrom(from: number): OffsetRange[] {
    const ranges: [number, number][] = [];
    for (const number of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const end = Math.min((number + 1) * pageOffsets, this.#highest + 1);
      let offset = this.#firstPresent(Math.max(from, number * pageOffsets), end);
      while (offset < end) {
        const absent = Math.min(this.firstAbsent(offset), end);
        const last = ranges.at(-1);
        if (last?.[1] === offset) last[1] = absent;
        else ranges.push([offset, absent]);
        offset = this.#firstPresent(absent, end);
      }
    }
    return ranges;
  }

  /** Forgets all. */
  clear(): void {
    if (this.#highest === -1) return;
    this.#pages.clear();
    this.#number = -1;
    this.#page = undefined;
    this.#highest = -1;
  }

  /** The first one from `from` on, all within a page, or `end`. */
  #firstPresent(from: number, end: number): number {
    let offset = from;
    while (offset < end) {
      const within = offset % pageOffsets;
      const present = (this.#at(offset)?.[within >> 5] ?? 0) >>> (within & 31);
      if (present !== 0) return offset + trailingZeros(present);
      offset += 32 - (within & 31);
    }
    return end;
  }

  #at(offset: number): Int32Array | undefined {
    const number = Math.floor(offset / pageOffsets);
    if (number !== this.#number) {
      this.#number = number;
      this.#page = this.#pages.get(number);
    }
    return this.#page;
  }

  #make(number: number): Int32Array {
    const page = new Int32Array(pageWords);
    this.#pages.set(number, page);
    this.#page = page;
    return page;
  }
}

function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}
