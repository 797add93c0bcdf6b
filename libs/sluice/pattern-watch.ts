import type { Groups } from "@sluice/broker";
import type { AnyPatternConsumer } from "@sluice/contract";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import { listTopics, type TopicEntry } from "@sluice/log";
import type { Pool } from "@sluice/store";
import { type JoinedConsumer, joinConsumer } from "@sluice/worker";

/** How often the list of topics is looked at, in milliseconds. */
const watchMs = 500;

/** What the watch works with. */
export interface PatternWatchContext {
  readonly pool: Pool;
  readonly groups: Groups;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Finds the topics that patterns mean: those there are at once, those that come later by looking again and again. */
export class PatternWatch {
  readonly #context: PatternWatchContext;
  readonly #consumers: readonly AnyPatternConsumer[];
  /** Topics by number that were looked at, whatever came of it. */
  readonly #seen = new Set<number>();
  /** Groups with their topics that are consumed already. */
  readonly #taken: Set<string>;
  #cancel = () => {};
  #round: Promise<void> = Promise.resolve();
  #stopped = false;

  /** @param named consumers that name their topic: where a pattern of their group means it too, they have it */
  constructor(
    context: PatternWatchContext,
    consumers: readonly AnyPatternConsumer[],
    named: readonly JoinedConsumer[],
  ) {
    this.#context = context;
    this.#consumers = consumers;
    this.#taken = new Set(named.map(({ consumer, entry }) => nameOf(consumer.group, entry)));
  }

  /**
   * Gives consumers of the topics that are new since the last look. At the first look each begins where its consumer says; later
   * ones at the earliest offset: what was sent to a topic before it was found is not lost.
   */
  async look(isFirst: boolean, onFound: (joined: JoinedConsumer) => void): Promise<void> {
    if (this.#consumers.length === 0) return;
    for (const entry of await listTopics(this.#context.pool)) {
      if (this.#seen.has(entry.number)) continue;
      for (const consumer of this.#consumers) {
        const joined = await this.#join(consumer, entry, isFirst);
        // At once: what comes after it may fail, and the topic is not new then.
        if (joined !== undefined) onFound(joined);
      }
      this.#seen.add(entry.number);
    }
  }

  /** Looks again and again, and gives what it finds to `onFound`, until it is stopped. */
  start(onFound: (joined: JoinedConsumer) => void): void {
    if (this.#consumers.length === 0) return;
    const next = () => {
      this.#cancel = this.#context.clock.after(watchMs, () => {
        this.#round = this.#lookAgain(onFound).then(() => {
          if (!this.#stopped) next();
        });
      });
    };
    next();
  }

  /** Resolves when it looks no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#round;
  }

  async #lookAgain(onFound: (joined: JoinedConsumer) => void): Promise<void> {
    try {
      await this.look(false, onFound);
    } catch (error) {
      this.#context.logger.log("warn", "looking for new topics failed and is tried again", { error: toError(error) });
    }
  }

  async #join(consumer: AnyPatternConsumer, entry: TopicEntry, isFirst: boolean): Promise<JoinedConsumer | undefined> {
    const { pattern, group } = consumer;
    const name = nameOf(group, entry);
    if (!pattern.matches(entry.name) || this.#taken.has(name)) return undefined;
    const fields = { topic: entry.name, group, pattern: pattern.pattern };
    const one = consumer.of(entry.name);
    if (one.topic.storage.encoding !== entry.encoding) {
      this.#context.logger.log("warn", "a topic of the pattern holds another kind of values and is left out", {
        ...fields,
        holds: entry.encoding,
      });
      return undefined;
    }
    const { pool, groups } = this.#context;
    const joined = await joinConsumer(pool, groups, isFirst ? one : { ...one, start: "earliest" }, entry);
    this.#taken.add(name);
    this.#context.logger.log("info", "a topic of the pattern was found", fields);
    return joined;
  }
}

function nameOf(group: string, entry: TopicEntry): string {
  return `${entry.number} ${group}`;
}
