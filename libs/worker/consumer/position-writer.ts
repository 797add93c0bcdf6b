import type { Groups } from "@sluice/broker";
import { type Logger, SluiceError, toError } from "@sluice/kernel";
import type { PartitionConsumer } from "./partition-consumer.ts";

/**
 * Writes the positions of all of a process's partitions in one statement, at a bounded rate: each row is updated at most
 * once per its consumer's `commitInterval`, so that a transaction held open elsewhere bloats little.
 */
export class PositionWriter {
  readonly #groups: Groups;
  readonly #logger: Logger;
  readonly #consumers: () => Iterable<PartitionConsumer>;
  readonly #dueAt = new Map<PartitionConsumer, number>();
  /** One write at a time: two that overlap could pass each other. */
  #writing: Promise<unknown> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(groups: Groups, logger: Logger, consumers: () => Iterable<PartitionConsumer>) {
    this.#groups = groups;
    this.#logger = logger;
    this.#consumers = consumers;
  }

  /** Writes at intervals from now on. */
  start(): void {
    if (this.#timer === undefined) this.#schedule();
  }

  /** Writes at intervals no more; resolves when the write under way is over. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueAt.clear();
    await this.#writing;
  }

  /** Writes what has changed of these. Those that turn out to have another owner are fenced. Fails as any call does. */
  write(consumers: readonly PartitionConsumer[]): Promise<void> {
    const write = this.#writing.then(() => this.#write(consumers));
    // The next write waits for this one, whatever its outcome; the caller hears of it.
    this.#writing = write.catch(() => undefined);
    return write;
  }

  /** Writes one position now. Fails with FENCED when it has another owner. */
  async writeNow(consumer: PartitionConsumer): Promise<void> {
    await this.write([consumer]);
    if (consumer.signal.aborted) {
      throw new SluiceError("FENCED", "the position was not written: the partition has another owner");
    }
  }

  async #write(consumers: readonly PartitionConsumer[]): Promise<void> {
    const commits = new Map(
      consumers.flatMap((consumer) => {
        const commit = consumer.pendingCommit();
        return commit === undefined ? [] : [[consumer, commit] as const];
      }),
    );
    if (commits.size === 0) return;
    const accepted = await this.#groups.commit([...commits.values()]);
    for (const [consumer, commit] of commits) {
      if (accepted.has(consumer.position)) consumer.committed(commit);
      else consumer.fence();
    }
  }

  #schedule(): void {
    const consumers = [...this.#consumers()];
    const interval = Math.min(250, ...consumers.map(({ consumer }) => consumer.commitIntervalMs));
    this.#timer = setTimeout(() => {
      this.#tick().finally(() => {
        if (this.#timer !== undefined) this.#schedule();
      });
    }, interval);
  }

  async #tick(): Promise<void> {
    const now = performance.now();
    const due = [...this.#consumers()].filter((consumer) => (this.#dueAt.get(consumer) ?? 0) <= now);
    for (const consumer of due) this.#dueAt.set(consumer, now + consumer.consumer.commitIntervalMs);
    try {
      await this.write(due);
    } catch (error) {
      this.#logger.log("warn", "positions could not be written; the next round tries again", { error: toError(error) });
    }
  }
}
