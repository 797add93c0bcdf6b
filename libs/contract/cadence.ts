import { Cron } from "croner";

/** When something recurs: by a cron expression in a time zone, or every so many milliseconds counted from 1970. */
export interface Cadence {
  readonly cron: string | null;
  /** IANA name, such as `Europe/Berlin`. */
  readonly timeZone: string;
  /** Null when there is a cron expression. */
  readonly everyMs: number | null;
}

/** What is wrong with a cadence, for people; `undefined` when it is fine. Tells what the expression or the zone lacks. */
export function cadenceProblem(cadence: Cadence): string | undefined {
  if (cadence.everyMs !== null) return undefined;
  try {
    return nextTick(cadence, Date.now()) === null ? "never comes: there is no such day" : undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Whether Intl, and so every runtime, knows a time zone by this name. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The first tick after a time, in milliseconds since 1970; null when there is none before the year 10000. */
export function nextTick(cadence: Cadence, afterMs: number): number | null {
  if (cadence.everyMs !== null) return Math.floor(afterMs / cadence.everyMs) * cadence.everyMs + cadence.everyMs;
  return parse(cadence).nextRun(new Date(afterMs))?.getTime() ?? null;
}

/** The ticks from `firstMs`, which is one, to `nowMs`, ascending: the last `most` of them. */
export function ticksUntil(cadence: Cadence, firstMs: number, nowMs: number, most: number): number[] {
  if (nowMs < firstMs || most < 1) return [];
  if (cadence.everyMs !== null) {
    const { everyMs } = cadence;
    const last = Math.floor(nowMs / everyMs) * everyMs;
    const count = Math.min(most, Math.floor((last - firstMs) / everyMs) + 1);
    return Array.from({ length: count }, (_, index) => last - (count - 1 - index) * everyMs);
  }
  const cron = parse(cadence);
  const ticks = [firstMs];
  // Forwards as long as they are few: the ticks of centuries back are no affair of a yearly schedule.
  for (let tick = firstMs; ticks.length <= most; ticks.push(tick)) {
    const next = cron.nextRun(new Date(tick))?.getTime();
    if (next === undefined || next > nowMs) return ticks;
    tick = next;
  }
  // Before a time means before its second, and now counts.
  const last = cron.previousRuns(most, new Date(nowMs + 1)).map((run) => run.getTime());
  return last.filter((tick) => tick >= firstMs).reverse();
}

const fields = /^\s*(@[a-z]+|\S+(\s+\S+){4,5})\s*$/i;

function parse({ cron, timeZone }: Cadence): Cron {
  // The library also takes a date, which is no cadence.
  if (cron === null || !fields.test(cron)) throw new Error("must have five fields, or six with seconds first");
  return new Cron(cron, {
    timezone: timeZone,
    mode: "5-or-6-parts",
    paused: true,
    // A time that a clock change skips comes right after it, and one that comes twice counts once, also where the
    // expression lists several hours.
    fixedTimeRule: "no-wildcard",
  });
}
