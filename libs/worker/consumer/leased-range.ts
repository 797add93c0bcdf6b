import type { Lease, LeaseAcknowledgement } from "@sluice/broker";
import type { AnyConsumer, Handler } from "@sluice/contract";
import { Signal, SluiceError } from "@sluice/kernel";
import { type SQL, sql } from "drizzle-orm";
import type { DeliveryOwner } from "./delivery.ts";
import type { Expiry } from "./expiry.ts";
import type { DeliveryServices } from "./message.ts";
import { Progress } from "./progress.ts";

/** What a range that a member has leased needs of its surroundings. */
export interface LeasedRangeHome {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  /** Decides whether its messages may still be handed over. */
  readonly expiryOf: (range: LeasedRange) => Expiry;
  /** Writes what is done of it now. Fails with FENCED when it has another holder. */
  readonly acknowledgeNow: (range: LeasedRange) => Promise<void>;
}

/** A range of offsets that this process has leased: what is done of it, and the right to write so. */
export class LeasedRange implements DeliveryOwner {
  readonly consumer: AnyConsumer;
  readonly handler: Handler<unknown>;
  readonly services: DeliveryServices;
  readonly partition: number;
  readonly position: number;
  /** Leases are told apart by their numbers; the position's own epoch plays no part. */
  readonly epoch = 0;
  readonly lease: number;
  readonly from: number;
  readonly to: number;
  readonly deliveries: number;
  readonly leasedAt = performance.now();
  readonly expiry: Expiry;
  readonly #home: LeasedRangeHome;
  readonly #progress: Progress;
  readonly #abort = new AbortController();
  readonly #moved = new Signal();
  /** Whether anything was begun that may do its message although it fails. */
  #hasCommits = false;
  #changes = 0;
  #written = 0;

  constructor(home: LeasedRangeHome, partition: number, lease: Lease) {
    this.#home = home;
    this.consumer = home.consumer;
    this.handler = home.handler;
    this.services = home.services;
    this.partition = partition;
    this.position = lease.position;
    this.lease = lease.lease;
    this.from = lease.from;
    this.to = lease.to;
    this.deliveries = lease.deliveries;
    this.#progress = new Progress(lease.from, lease.done);
    this.expiry = home.expiryOf(this);
  }

  /** Aborted when another member has taken it over, or the process stops. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether nothing of it is to be begun any more. */
  get isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  get isComplete(): boolean {
    return this.#progress.next >= this.to;
  }

  get hasChanged(): boolean {
    return this.#changes !== this.#written;
  }

  isDone(offset: number): boolean {
    return this.#progress.isDone(offset);
  }

  done(offset: number): void {
    this.#progress.done(offset);
    this.#changes += 1;
    this.#moved.raise();
  }

  /** The filter kept these back: nobody is handed them. */
  passOver(from: number, to: number): void {
    this.#progress.passOver(from, to);
    this.#changes += 1;
  }

  /** Retention has dropped what lies below. */
  skipTo(offset: number): void {
    this.#progress.skipTo(Math.min(offset, this.to));
    this.#changes += 1;
  }

  /** What is to be written of it, and what to call when it was. */
  acknowledgement(): { readonly acknowledgement: LeaseAcknowledgement; readonly written: () => void } {
    const changes = this.#changes;
    const below = this.#progress.next > this.from ? [[this.from, this.#progress.next] as const] : [];
    return {
      acknowledgement: {
        lease: this.lease,
        position: this.position,
        done: this.isComplete ? null : [...below, ...this.#progress.ranges()],
      },
      written: () => {
        this.#written = changes;
      },
    };
  }

  /** Resolves when all of these are done, or nothing of it is to be begun any more. One waiter at a time. */
  async untilDone(offsets: readonly number[]): Promise<void> {
    while (!this.isOver && !offsets.every((offset) => this.isDone(offset))) await this.#moved.wait(60_000);
  }

  /** Begins nothing of it any more: it has another holder, or the process stops. */
  end(reason: SluiceError): void {
    this.#abort.abort(reason);
    this.#moved.raise();
  }

  /** It has another holder. */
  lose(): void {
    this.end(new SluiceError("FENCED", "the lease has another holder"));
  }

  async commitNow(offset: number): Promise<void> {
    this.done(offset);
    await this.#home.acknowledgeNow(this);
  }

  get mayBeDone(): boolean {
    return this.#hasCommits;
  }

  commitBegins(): void {
    this.#hasCommits = true;
  }

  transactionCommitted(): void {
    // What the transaction has marked is done; nothing waits for an explicit commit in this mode.
  }

  mark(offset: number): SQL {
    return sql`sluice.mark_leased_done(${this.position}, ${this.lease}::bigint, ${offset}::bigint)`;
  }
}
