/** The least that is reserved: a position that is written is good for so many messages more. */
export const leastReserve = 256;
/** What is reserved where two processes have ended; sluice.take_over knows it, too. */
export const carefulReserve = 16;
const mostReserve = 200_000;

/** What is known of the processes that ended before; see sluice.take_over. */
export interface Ends {
  /** Processes that ended over what is below `suspectTo`. */
  readonly crashes: number;
  /** Messages below may have been in the hands of each of them. */
  readonly suspectTo: number;
}

/** How many processes may end over messages that are handed over together: what was in hand with three is little. */
export function toleratedCrashes({ attempts }: { readonly attempts: number }): number {
  return Math.min(2, attempts - 1);
}

/**
 * How far an owner may hand messages out before it has to say so. The database knows a bound of what is in an owner's hands,
 * written along with the position: a little more than was handed out since the last write, so that a busy owner seldom
 * has to write for this alone. Where a process has ended already the steps are small, and smaller where two have, so that few
 * are suspected if another one does.
 */
export class HandOutReserve {
  readonly #carefulTo: number;
  readonly #step: number;
  #end: number;
  #writtenAt: number;

  /** @param from where the owner begins; its takeover has reserved the first step */
  constructor(from: number, { crashes, suspectTo }: Ends = { crashes: 0, suspectTo: 0 }) {
    this.#carefulTo = crashes > 0 ? suspectTo : 0;
    this.#step = crashes > 1 ? carefulReserve : leastReserve;
    this.#end = from + this.#step;
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

  /** How many messages from this one on may be in hand at a time; `undefined`: as many as the consumer likes. */
  limitAt(offset: number): number | undefined {
    return this.isCareful(offset) && this.#step === carefulReserve ? carefulReserve : undefined;
  }

  /** What to write when messages below `offset` were handed out. */
  next(offset: number): number {
    if (this.isCareful(offset)) return Math.max(this.#end, offset + this.#step);
    const recent = Math.max(0, offset - this.#writtenAt);
    return Math.max(this.#end, offset + Math.min(mostReserve, Math.max(leastReserve, 2 * recent)));
  }

  /** It was written, when messages below `offset` had been handed out. */
  written(end: number, offset: number): void {
    this.#end = Math.max(this.#end, end);
    this.#writtenAt = offset;
  }
}
