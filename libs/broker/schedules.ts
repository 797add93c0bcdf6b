import { type Cadence, nextTick, type Schedule, ticksUntil } from "@sluice/contract";
import { isSluiceError, type Logger, SluiceError, toError } from "@sluice/kernel";
import { arrayLiteral, type Pool } from "@sluice/store";
import clockStatement from "./sql/database-time-ms.sql" with { type: "text" };
import declareStatement from "./sql/declare-schedule.sql" with { type: "text" };
import fireStatement from "./sql/fire-schedule.sql" with { type: "text" };
import nextStatement from "./sql/next-schedules.sql" with { type: "text" };

/** How often to look when no tick is near. */
const idlePollMs = 1_000;
/** Schedules looked at in one round at most. */
const roundSchedules = 100;
/** A tick this old is not missed yet: it takes a moment to replace a process that has died. */
const graceMs = 30_000;
/** Missed ticks that are made up for at most, one message each. */
const mostMissed = 1_000;

type Row = {
  schedule: number;
  name: string;
  cron: string | null;
  every_ms: string | null;
  time_zone: string;
  missed: "skip" | "once" | "all";
  revision: string;
  next_ms: string | null;
  now_ms: string;
};

/**
 * Sends what schedules say. It keeps nothing in memory: which tick is next stands in the row, is read with the database's
 * clock, and moves on in the transaction that sends.
 */
export class Schedules {
  readonly #pool: Pool;
  readonly #logger: Logger;

  constructor(pool: Pool, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger;
  }

  /** One look; see DutyRound. A schedule that cannot be sent is logged and keeps no other from its tick. */
  async round(epoch: number): Promise<number> {
    const rows = await this.#pool.query<Row>("looking for schedules", nextStatement, [roundSchedules]);
    let waitMs = idlePollMs;
    for (const row of rows) {
      const untilMs = row.next_ms === null ? 0 : Number(row.next_ms) - Number(row.now_ms);
      if (untilMs > 0) {
        waitMs = Math.min(waitMs, untilMs);
        continue;
      }
      try {
        await this.#fire(epoch, row);
        waitMs = 0;
      } catch (error) {
        if (isSluiceError(error) && error.sqlState === "SL001") throw error;
        this.#logger.log("warn", "a schedule could not be sent and is tried again", {
          schedule: row.name,
          error: toError(error),
        });
      }
    }
    return waitMs;
  }

  async #fire(epoch: number, row: Row): Promise<void> {
    const cadence: Cadence = {
      cron: row.cron,
      timeZone: row.time_zone,
      everyMs: row.every_ms === null ? null : Number(row.every_ms),
    };
    const nowMs = Number(row.now_ms);
    const ticks = row.next_ms === null ? [] : dueTicks(cadence, row.missed, Number(row.next_ms), nowMs);
    await this.#pool.query("sending by schedule", fireStatement, [
      epoch,
      row.schedule,
      row.revision,
      arrayLiteral(ticks),
      String(requireTick(row.name, nextTick(cadence, nowMs))),
    ]);
    this.#logger.log("debug", "a schedule was sent", { schedule: row.name, ticks: ticks.length });
  }
}

/** The ticks from the next one of a row to now for which a message is to be sent. */
function dueTicks(cadence: Cadence, missed: Row["missed"], firstMs: number, nowMs: number): readonly number[] {
  const ticks = ticksUntil(cadence, firstMs, nowMs, missed === "all" ? mostMissed : 1);
  return missed === "skip" ? ticks.filter((tick) => nowMs - tick <= graceMs) : ticks;
}

/** Keeps a declared schedule in the database; `topic` is its topic's number there. */
export async function declareSchedule(
  pool: Pool,
  schedule: Schedule,
  topic: number,
  declaredBy: string,
): Promise<void> {
  const what = `declaring schedule ${schedule.name}`;
  const clock = await pool.query<{ now_ms: string }>(what, clockStatement);
  const { cron, everyMs, timeZone } = schedule.cadence;
  await pool.query(what, declareStatement, [
    schedule.name,
    topic,
    cron,
    everyMs === null ? null : String(everyMs),
    timeZone,
    schedule.key,
    schedule.value,
    JSON.stringify(schedule.headers),
    schedule.missed,
    String(requireTick(schedule.name, nextTick(schedule.cadence, Number(clock[0]?.now_ms)))),
    declaredBy,
    schedule.priority,
  ]);
}

function requireTick(name: string, tick: number | null): number {
  if (tick !== null) return tick;
  throw new SluiceError("INVALID_OPTIONS", `schedule ${name} has no next tick before the year 10000`);
}
