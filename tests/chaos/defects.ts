import type postgres from "postgres";
import { plant } from "../invariants/rig.ts";

/** Something that is broken on purpose, and the names of what must be found then. */
export interface Defect {
  readonly name: string;
  /** Breaks functions of the run's own database. */
  readonly plant?: (sql: postgres.Sql) => Promise<void>;
  /** Makes the workload's consumers commit before they handle. */
  readonly commitsFirst?: boolean;
  /** One of these must be found. */
  readonly found: readonly string[];
  /** Faults under which it shows. */
  readonly kinds: readonly string[];
  /** The longest pause between two of them. Default 300 ms. */
  readonly pauseMs?: number;
}

/** Some commits of handlers take their time, as they do where disks are slow or standbys far: what the lock is held for. */
async function slowCommits(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create function chaos.be_slow() returns trigger language plpgsql as $$ begin
      perform pg_sleep(2);
      return null;
    end $$;
    create constraint trigger be_slow after insert on sluice.done deferrable initially deferred for each row
      when (new."offset" % 2 = 0) execute function chaos.be_slow();`);
}

const takeFence = "pg_advisory_xact_lock_shared(1936487683, p_position);";

/**
 * Some marks of handlers take longer than a lease, as they do on a server that is overloaded: whoever is frozen meanwhile has lost the partition
 * by then, and finds the answer when it thaws.
 */
async function slowMarks(sql: postgres.Sql): Promise<void> {
  await plant(sql, "sluice.mark_done", [
    takeFence,
    `pg_sleep((p_offset % 3 = 0)::integer * 2.5); perform ${takeFence}`,
  ]);
}

/** The defects that a run must find. */
export const defects: readonly Defect[] = [
  {
    name: "epoch-unchecked",
    plant: async (sql) => {
      await plant(sql, "sluice.mark_done", [" and epoch = p_epoch", ""]);
      await plant(sql, "sluice.commit_positions", [" and p.epoch = p_epochs[i]", ""]);
      await slowMarks(sql);
    },
    found: ["fenced-write", "inexact-effect"],
    kinds: ["terminate a session", "freeze a consumer"],
  },
  {
    name: "lock-released-early",
    plant: async (sql) => {
      await plant(sql, "sluice.mark_done", [takeFence, "pg_sleep(0);"]);
      await slowCommits(sql);
    },
    found: ["fenced-write", "inexact-effect"],
    kinds: ["kill a consumer"],
    // Long enough for whoever comes next to have handlers at work.
    pauseMs: 3_000,
  },
  {
    name: "committed-before-handled",
    commitsFirst: true,
    found: ["unseen"],
    kinds: ["kill a consumer"],
  },
];
