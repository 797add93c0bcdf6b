import {
  assertDuty,
  Delays,
  type Doorbell,
  Duty,
  forgetExpired,
  forgetMarks,
  forgetMoves,
  Pace,
  Relay,
  refreshDepths,
  removeDeadMembers,
  Schedules,
  trimTopics,
} from "@sluice/broker";
import type { Logger } from "@sluice/kernel";
import type { Log } from "@sluice/log";
import type { Pool, Presence } from "@sluice/store";

/** Which duty has something to do when a doorbell says this. */
export const dutyOfRing = { outbox: "relay", delay: "delays", schedule: "schedules" } as const;

/** How often old segments are looked for. */
const retentionMs = 30_000;
/** Idle limits of keys that are forgotten with each round of retention. */
const forgottenPaces = 10_000;

/** What duties work with. */
export interface DutiesContext {
  readonly pool: Pool;
  readonly log: Log;
  readonly doorbell: Doorbell;
  readonly logger: Logger;
}

/** Stands for what one process does for all: each duty is had by whoever gets its lock. */
export function standForDuties(
  session: Presence,
  member: number,
  owner: string,
  context: DutiesContext,
): readonly Duty[] {
  const { pool, log, doorbell, logger } = context;
  const relay = new Relay(pool, doorbell);
  const delays = new Delays(pool, doorbell);
  const schedules = new Schedules(pool, logger);
  const common = { pool, session, member, owner, logger, onTaken: () => undefined };
  return [
    new Duty({ ...common, duty: "relay", onTaken: () => relay.reset(), round: (epoch) => relay.round(epoch) }),
    new Duty({
      ...common,
      duty: "retention",
      round: async (epoch) => {
        // What it removes it decides anew by what the database says; this only keeps two from doing the same work.
        await assertDuty(pool, "retention", epoch);
        await trimTopics(pool, log, logger);
        await new Pace(pool).forget(forgottenPaces);
        await forgetExpired(pool);
        await forgetMarks(pool);
        await forgetMoves(pool);
        await removeDeadMembers(pool);
        await refreshDepths(pool);
        return retentionMs;
      },
    }),
    new Duty({ ...common, duty: "delays", onTaken: () => delays.reset(), round: (epoch) => delays.round(epoch) }),
    new Duty({ ...common, duty: "schedules", round: (epoch) => schedules.round(epoch) }),
  ];
}
