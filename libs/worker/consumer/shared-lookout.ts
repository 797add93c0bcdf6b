import type { SharedLeases, SharedPosition } from "@sluice/broker";
import type { Logger } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import type { LeaseWriter } from "./lease-writer.ts";
import type { SharedClaims } from "./shared-claims.ts";
import type { SharedHands } from "./shared-hands.ts";

/** How often to look for what no doorbell tells of. */
const lookMs = 500;

/** What a lookout works with, and what it tells. */
export interface SharedLookoutContext {
  readonly group: number;
  readonly entry: TopicEntry;
  readonly leases: SharedLeases;
  readonly writer: LeaseWriter;
  readonly hands: SharedHands;
  readonly claims: SharedClaims;
  readonly logger: Logger;
  readonly names: Readonly<Record<string, unknown>>;
  /** Told what the database says of the group's positions, before that is heeded here. */
  readonly onLook: (positions: readonly SharedPosition[]) => void;
}

/** How a shared group stands, as the database says it: what is paused, what was moved, and whether redriven messages wait. */
export class SharedLookout {
  readonly #context: SharedLookoutContext;
  /** Position → the epoch in which this member has leased of it. */
  readonly #epochs = new Map<number, number>();
  #paused: ReadonlySet<number> = new Set();
  #lookAt = 0;

  constructor(context: SharedLookoutContext) {
    this.#context = context;
  }

  get isDue(): boolean {
    return performance.now() >= this.#lookAt;
  }

  /** How long until it is due. */
  get restMs(): number {
    return Math.max(1, this.#lookAt - performance.now());
  }

  /** Something has changed: it is due at once. */
  ring(): void {
    this.#lookAt = 0;
  }

  /** Asks the database, and heeds what it says. */
  async look(): Promise<void> {
    this.#lookAt = performance.now() + lookMs;
    const { group, entry, leases, onLook, claims, writer } = this.#context;
    const positions = await leases.positions(group, entry.number);
    // First: what is resumed at a rate goes at that rate from the first message on.
    onLook(positions);
    this.pause(new Set(positions.filter(({ paused }) => paused).map(({ partition }) => partition)));
    if (positions.some(({ paused, redriven }) => redriven && !paused)) claims.ringRedriven();
    const moved = positions.filter(({ position, epoch }) => (this.#epochs.get(position) ?? epoch) !== epoch);
    for (const { position, epoch } of positions) this.#epochs.set(position, epoch);
    if (moved.length > 0) await writer.renewNow();
  }

  /** These partitions are paused, and no others. */
  pause(paused: ReadonlySet<number>): void {
    const before = this.#paused;
    if (paused.size === before.size && [...paused].every((partition) => before.has(partition))) return;
    this.#paused = paused;
    const { logger, names, hands, claims } = this.#context;
    const what =
      paused.size > 0 ? "partitions are paused: they hand over nothing until they are resumed" : "all are resumed";
    logger.log("info", what, { ...names, partitions: [...paused] });
    hands.heed(paused);
    claims.ringFailed();
  }
}
