import type { OffsetRange, PassedOver } from "@sluice/broker";
import type { Clock, Logger } from "@sluice/kernel";
import type { Log, TopicEntry } from "@sluice/log";
import { type InsistContext, insist } from "./insist.ts";
import type { Progress } from "./progress.ts";

/** What passing over dropped messages needs of its surroundings. */
export interface DroppedMessagesContext {
  readonly log: Log;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly passedOver: Pick<PassedOver, "pass">;
}

/** The partition whose owner it works for. */
export interface DroppedMessagesOwner {
  readonly entry: TopicEntry;
  readonly partition: number;
  readonly position: number;
  readonly epoch: number;
  readonly signal: AbortSignal;
  /** Begins nothing more: the partition has another owner. */
  fence(): void;
  /** Counts messages as done that are not handed over. */
  passOver(from: number, to: number): void;
}

/** A message that was dropped longer ago than this is not handed over, however far ahead it was read. */
const lookMs = 50;

/**
 * For a topic that drops its oldest messages: finds those that the owner of a partition has not begun, and passes over them.
 * What is in a handler's hands by then, or in line for one, is handled all the same.
 */
export class DroppedMessages {
  readonly #context: DroppedMessagesContext;
  readonly #owner: DroppedMessagesOwner;
  readonly #progress: Pick<Progress, "undone">;
  readonly #insisting: InsistContext;
  #below = 0;
  #lookAt = 0;

  constructor(context: DroppedMessagesContext, owner: DroppedMessagesOwner, progress: Pick<Progress, "undone">) {
    this.#context = context;
    this.#owner = owner;
    this.#progress = progress;
    this.#insisting = { clock: context.clock, logger: context.logger, signal: owner.signal };
  }

  /**
   * Passes over what was dropped at `from` and above, of which nothing has been begun, and gives the first offset that was not:
   * `from` itself when nothing was.
   */
  async pass(from: number): Promise<number> {
    const { entry, partition, position, epoch } = this.#owner;
    const names = { topic: entry.name, partition };
    const place = { topic: entry.number, partition };
    const look = () => this.#context.log.droppedBelow(place);
    const below = await insist("looking for what was dropped", this.#insisting, look, names);
    this.#lookAt = performance.now() + lookMs;
    if (below !== "stopped") this.#below = below;
    if (this.#below <= from) return from;
    const ranges = this.#progress.undone(from, this.#below);
    if (ranges.length === 0) return this.#below;
    const count = () => this.#context.passedOver.pass(position, epoch, ranges);
    const outcome = await insist("passing over what was dropped", this.#insisting, count, names);
    if (outcome === "fenced") this.#owner.fence();
    if (outcome !== "passed") return from;
    this.#log(ranges);
    this.#owner.passOver(from, this.#below);
    return this.#below;
  }

  /** Whether it is time to look before the message at `offset`, which was read some time ago, is handed over. */
  isDue(offset: number): boolean {
    return offset < this.#below || performance.now() >= this.#lookAt;
  }

  #log(ranges: readonly OffsetRange[]): void {
    const { entry, partition } = this.#owner;
    const messages = ranges.reduce((sum, [from, to]) => sum + to - from, 0);
    this.#context.logger.log("warn", "messages were dropped before this group had begun them: the topic was full", {
      topic: entry.name,
      partition,
      messages,
      to: ranges.at(-1)?.[1],
    });
  }
}
