import type { OffsetRange } from "@sluice/broker";
import { OffsetSet } from "./offset-set.ts";

/**
 * How far one owner is in one partition, when messages finish out of order: everything below `next` is done, and above it
 * what {@link ranges} says.
 */
export class Progress {
  #next: number;
  /** Done above `next`, apart from each other, ascending. */
  #ranges: OffsetRange[];
  /** Done since the ranges were last folded together. */
  readonly #recent = new OffsetSet();

  constructor(next: number, doneAbove: readonly OffsetRange[]) {
    this.#next = next;
    this.#ranges = [...doneAbove];
    this.#advance();
  }

  /** Everything below is done. */
  get next(): number {
    return this.#next;
  }

  /** Marks one offset as done; doing so again changes nothing. */
  done(offset: number): void {
    if (offset === this.#next) {
      this.#next += 1;
      if (this.#recent.highest >= 0 || this.#ranges.length > 0) this.#advance();
    } else if (offset > this.#next) {
      this.#recent.add(offset);
    }
  }

  /** Whether an offset is done. */
  isDone(offset: number): boolean {
    if (offset < this.#next || this.#recent.has(offset)) return true;
    return this.#ranges.length > 0 && this.#isInRange(offset);
  }

  /** Marks all from `from` up to `to` as done, which were not handed over: nobody else will say so of one of them. */
  passOver(from: number, to: number): void {
    if (from <= this.#next) {
      this.skipTo(to);
      return;
    }
    const last = this.#ranges.at(-1);
    if (last === undefined || last[1] < from) this.#ranges.push([from, to]);
    else this.#ranges = merge([...this.#ranges, [from, to]]);
  }

  /** Nothing below `offset` exists any more (retention): as if it were done. */
  skipTo(offset: number): void {
    if (offset <= this.#next) return;
    this.#next = offset;
    this.#ranges = this.#ranges.flatMap(([from, to]): OffsetRange[] =>
      to <= offset ? [] : [[Math.max(from, offset), to]],
    );
    this.#advance();
  }

  /** What of `from` up to `to` is not done. */
  undone(from: number, to: number): readonly OffsetRange[] {
    const undone: OffsetRange[] = [];
    let at = Math.max(from, this.#next);
    for (const [first, end] of this.ranges()) {
      if (first >= to) break;
      if (first > at) undone.push([at, first]);
      at = Math.max(at, end);
    }
    if (at < to) undone.push([at, to]);
    return undone;
  }

  /** What is done above `next`, as ranges. */
  ranges(): readonly OffsetRange[] {
    if (this.#recent.highest > this.#next)
      this.#ranges = merge([...this.#ranges, ...this.#recent.rangesFrom(this.#next)]);
    this.#recent.clear();
    return this.#ranges;
  }

  /** By halves: a filter leaves a range between any two messages that it lets through. */
  #isInRange(offset: number): boolean {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ranges[middle] as OffsetRange)[1] <= offset) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low];
    return range !== undefined && range[0] <= offset;
  }

  #advance(): void {
    for (;;) {
      const first = this.#ranges[0];
      this.#next = this.#recent.firstAbsent(this.#next);
      if (first === undefined || first[0] > this.#next) break;
      this.#next = Math.max(this.#next, first[1]);
      this.#ranges.shift();
    }
    if (this.#recent.highest < this.#next) this.#recent.clear();
  }
}

/** Ranges in order, those that touch as one. */
function merge(ranges: OffsetRange[]): OffsetRange[] {
  const merged: [number, number][] = [];
  for (const [from, to] of ranges.sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}
