const sampleMs = 500;
/** The heap of a process that has just started grows to its size. */
const samplesToSay = 120;
const toleratedRatio = 1.25;
const toleratedMb = 64;

/** Looks every now and then at what processes that are never ended have in memory. */
export class MemoryWatch {
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #samples: number[] = [];

  constructor(look: () => readonly (number | undefined)[]) {
    this.#timer = setInterval(() => {
      const megabytes = look();
      if (megabytes.every((each) => each !== undefined))
        this.#samples.push(megabytes.reduce((sum, each) => sum + each, 0));
    }, sampleMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Whether the last quarter needed no more than the second; `undefined` when the run was too short to say. */
  get isFlat(): boolean | undefined {
    if (this.#samples.length < samplesToSay) return undefined;
    const { second, last } = this.summary;
    return last <= second * toleratedRatio + toleratedMb;
  }

  /** The median of the second quarter and of the last, in MiB, and how many samples there are. */
  get summary(): { readonly second: number; readonly last: number; readonly samples: number } {
    const quarter = Math.floor(this.#samples.length / 4);
    const median = (part: readonly number[]) =>
      Math.round([...part].sort((a, b) => a - b)[Math.floor(part.length / 2)] ?? 0);
    return {
      second: median(this.#samples.slice(quarter, quarter * 2)),
      last: median(this.#samples.slice(quarter * 3)),
      samples: this.#samples.length,
    };
  }
}
