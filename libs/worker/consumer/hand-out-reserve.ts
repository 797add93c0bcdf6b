/** The least that is reserved: a position that is written is good for so many messages more. */
export const leastReserve = 256;
const mostReserve = 200_000;

/**
 * How far an owner may hand messages out before it has to say so. The database knows a bound of what is in an owner's hands,
 * written along with the position: a little more than was handed out since the last write, so that a busy owner seldom
 * has to write for this alone.
 */
export class HandOutReserve {
  #end: number;
  #writtenAt: number;

  /** @param from where the owner begins; its takeover has reserved {@link leastReserve} messages */
  constructor(from: number) {
    this.#end = from + leastReserve;
    this.#writtenAt = from;
  }

  /** Messages below this may be handed out. */
  get end(): number {
    return this.#end;
  }

  /** What to write when messages below `offset` were handed out. */
  next(offset: number): number {
    const recent = Math.max(0, offset - this.#writtenAt);
    return Math.max(this.#end, offset + Math.min(mostReserve, Math.max(leastReserve, 2 * recent)));
  }

  /** It was written, when messages below `offset` had been handed out. */
  written(end: number, offset: number): void {
    this.#end = Math.max(this.#end, end);
    this.#writtenAt = offset;
  }
}
