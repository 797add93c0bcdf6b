/** The least that is reserved: a position that is written is good for so many messages more. */
export const leastReserve = 256;
const mostReserve = 200_000;

/**
 * How far an owner may hand messages out before it has to say so. The database knows a bound of what is in an owner's hands,
 * written along with the position: a little more than was handed out since the last write, so that a busy owner seldom
 * has to write for this alone. Where a process has ended already the steps are small, so that few are suspected if a second one does.
 */
export class HandOutReserve {
  readonly #carefulTo: number;
  #end: number;
  #writtenAt: number;

  /**
   * @param from where the owner begins; its takeover has reserved {@link leastReserve} messages
   * @param carefulTo messages below were in the hands of a process that ended; 0: none were
   */
  constructor(from: number, carefulTo = 0) {
    this.#carefulTo = carefulTo;
    this.#end = from + leastReserve;
    this.#writtenAt = from;
  }

  /** Messages below this may be handed out. */
  get end(): number {
    return this.#end;
  }

  /** Whether messages from this one on are to be reserved in small steps. */
  isCareful(offset: number): boolean {
    return offset < this.#carefulTo;
  }

  /** What to write when messages below `offset` were handed out. */
  next(offset: number): number {
    const recent = this.isCareful(offset) ? 0 : Math.max(0, offset - this.#writtenAt);
    return Math.max(this.#end, offset + Math.min(mostReserve, Math.max(leastReserve, 2 * recent)));
  }

  /** It was written, when messages below `offset` had been handed out. */
  written(end: number, offset: number): void {
    this.#end = Math.max(this.#end, end);
    this.#writtenAt = offset;
  }
}
