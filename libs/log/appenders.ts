import type { Pool, StatementParameter, StatementRow } from "@sluice/store";

/** One connection, and how many appends it has not answered. */
interface Lane {
  readonly pool: Pool;
  waiting: number;
}

/** What is appended to. */
export interface AppendPlace {
  /** The topic's number. */
  readonly topic: number;
  /** Whether another append of the topic is under way that this one must not overtake. */
  readonly follows: boolean;
}

/**
 * The connections that appends go over. What follows another append of its topic goes where that went: the server works on it as soon as
 * that one is done, without a way there and back in between. Anything else takes a connection that is free, always the first of those,
 * whose server process has the statements and tables at hand; where none is, the one with the least to do.
 */
export class Appenders {
  readonly #lanes: readonly Lane[];
  /** By topic, where it was appended to last. */
  readonly #lastLanes = new Map<number, Lane>();

  /** @param pools each of one connection */
  constructor(pools: readonly Pool[]) {
    this.#lanes = pools.map((pool) => ({ pool, waiting: 0 }));
  }

  /** Runs an append's statement as {@link Pool.query} does. */
  async query<Row extends StatementRow>(
    { topic, follows }: AppendPlace,
    what: string,
    statement: string,
    parameters: readonly StatementParameter[],
    deadlineMs: number,
  ): Promise<Row[]> {
    const lane = (follows ? this.#lastLanes.get(topic) : undefined) ?? this.#leastBusy();
    this.#lastLanes.set(topic, lane);
    lane.waiting += 1;
    try {
      return await lane.pool.query<Row>(what, statement, parameters, deadlineMs);
    } finally {
      lane.waiting -= 1;
    }
  }

  #leastBusy(): Lane {
    let chosen = this.#lanes[0] as Lane;
    for (const lane of this.#lanes) {
      if (chosen.waiting === 0) break;
      if (lane.waiting < chosen.waiting) chosen = lane;
    }
    return chosen;
  }
}
