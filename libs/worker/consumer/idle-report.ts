import { basePartitions } from "@sluice/contract";
import type { Logger } from "@sluice/kernel";
import type { JoinedConsumer } from "../worker-context.ts";

/** Something of a group and a topic. */
interface Part {
  readonly group: number;
  readonly topic: number;
}

/** Says it once when a member has nothing to do in a group, and once when it has again. */
export class IdleReport {
  readonly #logger: Logger;
  readonly #idle = new Set<JoinedConsumer>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /**
   * @param joined consumers whose partitions are assigned
   * @param mine positions that are this member's
   * @param subscriptions all members that take part
   */
  note(joined: readonly JoinedConsumer[], mine: readonly Part[], subscriptions: readonly Part[]): void {
    for (const one of joined) {
      const isOf = ({ group, topic }: Part) => group === one.group && topic === one.entry.number;
      this.#note(one, mine.some(isOf), subscriptions.filter(isOf).length);
    }
  }

  #note(joined: JoinedConsumer, isWorking: boolean, members: number): void {
    const isIdle = !isWorking && members > 1;
    if (isIdle === this.#idle.has(joined)) return;
    const { consumer, entry } = joined;
    const names = { group: consumer.group, topic: entry.name, members, partitions: basePartitions(entry) };
    if (isIdle) this.#idle.add(joined);
    else this.#idle.delete(joined);
    const why = consumer.singleActive ? "another member is the active one" : "more members than partitions";
    this.#logger.log("info", isIdle ? `idle: ${why}` : "no longer idle", names);
  }
}
