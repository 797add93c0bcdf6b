import type { SharedLeases } from "@sluice/broker";
import { type Logger, SluiceError, toError } from "@sluice/kernel";
import type { ClaimedRetry } from "./claimed-retry.ts";
import type { LeasedRange } from "./leased-range.ts";

/** What a writer works with. */
export interface LeaseWriterContext {
  readonly leases: SharedLeases;
  readonly logger: Logger;
  readonly names: Readonly<Record<string, unknown>>;
  readonly leaseMs: number;
  readonly commitIntervalMs: number;
}

/** Complete ranges that may wait for the next round; with more, it comes at once. */
const mostComplete = 64;

/**
 * Everything that a process has in hand of one shared group and topic: writes what is done in one statement at a bounded rate,
 * renews what is not while the process lives, and gives back what is left when it stops.
 */
export class LeaseWriter {
  readonly #context: LeaseWriterContext;
  readonly #ranges = new Set<LeasedRange>();
  readonly #claims = new Set<ClaimedRetry>();
  /** One write at a time: two that overlap could pass each other. */
  #writing: Promise<unknown> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writeAt = 0;
  #renewAt: number;
  #complete = 0;

  constructor(context: LeaseWriterContext) {
    this.#context = context;
    this.#renewAt = performance.now() + context.leaseMs / 4;
    this.#schedule();
  }

  add(range: LeasedRange): void {
    this.#ranges.add(range);
  }

  addClaim(claim: ClaimedRetry): void {
    this.#claims.add(claim);
  }

  removeClaim(claim: ClaimedRetry): void {
    this.#claims.delete(claim);
  }

  /** A range is complete: it goes with the next round. */
  completed(): void {
    this.#complete += 1;
    if (this.#complete < mostComplete) return;
    this.#complete = 0;
    void this.#try(() => this.#write([...this.#ranges].filter(isDue)));
  }

  /** Writes one range now. Fails with FENCED when it has another holder, else as any call to the database does. */
  async writeNow(range: LeasedRange): Promise<void> {
    await this.#inTurn(() => this.#write([range]));
    if (range.isOver) throw new SluiceError("FENCED", "nothing was acknowledged: the message has another holder");
  }

  /** The same, and where that fails it goes with the next round. Never rejects. */
  async tryNow(range: LeasedRange): Promise<void> {
    await this.#try(() => this.#write([range]));
  }

  /** Finds out which leases and claims still hold: a position was moved, and some are void. Never rejects. */
  async renewNow(): Promise<void> {
    await this.#try(async () => {
      await this.#write([...this.#ranges]);
      await this.#renewClaims();
    });
  }

  /** Writes what is done and gives the rest back. What cannot be written now is taken over when its lease has run out. */
  async stop(reason: SluiceError): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const one of [...this.#ranges, ...this.#claims]) one.end(reason);
    await this.#try(async () => {
      await this.#write([...this.#ranges].filter(isDue));
      if (this.#ranges.size > 0) await this.#context.leases.release([...this.#ranges].map(({ lease }) => lease));
      for (const { claim, attempt, isFinished, messages } of this.#claims)
        if (!isFinished) await messages.putOff(claim, { delayMs: 0, attempt: attempt - 1 });
      this.#ranges.clear();
      this.#claims.clear();
    });
  }

  #schedule(): void {
    const { commitIntervalMs, leaseMs } = this.#context;
    this.#timer = setTimeout(
      () => {
        this.#try(() => this.#round()).finally(() => {
          if (this.#timer !== undefined) this.#schedule();
        });
      },
      Math.min(commitIntervalMs, leaseMs / 4),
    );
  }

  async #round(): Promise<void> {
    const now = performance.now();
    const mustRenew = now >= this.#renewAt;
    if (!mustRenew && now < this.#writeAt) return;
    this.#writeAt = now + this.#context.commitIntervalMs;
    this.#complete = 0;
    await this.#write([...this.#ranges].filter((range) => mustRenew || isDue(range)));
    if (!mustRenew) return;
    await this.#renewClaims();
    this.#renewAt = now + this.#context.leaseMs / 4;
  }

  async #write(ranges: readonly LeasedRange[]): Promise<void> {
    if (ranges.length === 0) return;
    const written = ranges.map((range) => ({ range, ...range.acknowledgement() }));
    const accepted = await this.#context.leases.acknowledge(written.map(({ acknowledgement }) => acknowledgement));
    for (const { range, acknowledgement, written: noteWritten } of written) {
      if (accepted.has(range.lease)) {
        noteWritten();
        if (acknowledgement.done === null) this.#ranges.delete(range);
      } else this.#lose(range);
    }
  }

  /** Its holder is another. (One that was complete and written before is simply gone.) */
  #lose(range: LeasedRange): void {
    if (!this.#ranges.delete(range)) return;
    range.lose();
    const { logger, names } = this.#context;
    logger.log("warn", "a lease has another holder; what it had in hand here is void", {
      ...names,
      partition: range.partition,
      from: range.from,
      to: range.to,
    });
  }

  async #renewClaims(): Promise<void> {
    for (const messages of new Set([...this.#claims].map((claim) => claim.messages))) {
      const claims = [...this.#claims].filter((claim) => claim.messages === messages && !claim.isFinished);
      if (claims.length === 0) continue;
      const held = await messages.renew(claims.map(({ claim }) => claim));
      for (const claim of claims) if (!held.has(claim.claim.claim) && this.#claims.has(claim)) claim.lose();
    }
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#writing.then(work);
    // The next write waits for this one, whatever its outcome; the caller hears of it.
    this.#writing = turn.catch(() => undefined);
    return turn;
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await this.#inTurn(work);
    } catch (error) {
      this.#context.logger.log("warn", "what is done could not be written; the next round tries again", {
        ...this.#context.names,
        error: toError(error),
      });
    }
  }
}

function isDue(range: LeasedRange): boolean {
  return range.hasChanged || range.isComplete;
}
