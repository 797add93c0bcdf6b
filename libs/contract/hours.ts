import type { Problem } from "@sluice/kernel";
import { isTimeZone } from "./cadence.ts";
import { type RateLimit, rateLimitProblems } from "./rate-limit.ts";

/** A day of the week. */
export type Day = (typeof days)[number];

/** As JavaScript counts them: Sunday is 0. */
const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

/** How a group goes while a window is open; what is not given is the consumer's own. */
export interface HoursPace {
  /** As the consumer's `concurrency`: 1 to 10,000, in mode `"ordered"` 1. */
  readonly concurrency?: number;
  /** As the consumer's `rateLimit`: over all processes of the group. */
  readonly rateLimit?: RateLimit;
}

/** Hours of a day, on some days of the week: `{ days: ["sat", "sun"], from: "22:00", to: "06:00", concurrency: 64 }`. */
export interface HoursWindow extends HoursPace {
  /** Shown in `sluice.hours` and in log lines; 1 to 60 characters. Default: its days and times. */
  readonly name?: string;
  /** The days on which it begins. Default: every day. */
  readonly days?: readonly Day[];
  /** From this minute on, `"00:00"` to `"23:59"`. Default `"00:00"`. */
  readonly from?: string;
  /** To this minute, which is not part of it; up to `"24:00"`, the default. Before `from`: on the next day. */
  readonly to?: string;
}

/** When a consumer may work, and how fast; see {@link ConsumerOptions.hours}. */
export interface HoursOptions {
  /** Whose clock on the wall it is: an IANA name. Default `"UTC"`. */
  readonly timeZone?: string;
  /** 1 to 64. Where several are open at a time, the first one counts. */
  readonly windows: readonly HoursWindow[];
  /** While none is open: `"closed"`, nothing is handed over, or how it goes then. Default: as the consumer says by itself. */
  readonly otherwise?: "closed" | HoursPace;
}

/** A window as it is computed with: minutes of the day. */
export interface DeclaredWindow {
  readonly name: string;
  /** By number; Sunday is 0. */
  readonly days: readonly boolean[];
  readonly fromMinute: number;
  /** Not above `fromMinute`: it ends on the next day. */
  readonly toMinute: number;
  readonly pace: HoursPace;
}

/** Declared hours. */
export interface Hours {
  readonly timeZone: string;
  readonly windows: readonly DeclaredWindow[];
  /** `undefined`: closed. */
  readonly otherwise: HoursPace | undefined;
}

const mostWindows = 64;

/** Hours as they hold, of options that have no problems. */
export function hoursOf({ timeZone = "UTC", windows, otherwise = {} }: HoursOptions): Hours {
  return {
    timeZone,
    windows: windows.map((window) => ({
      name: window.name ?? defaultName(window),
      days: days.map((day) => window.days?.includes(day) ?? true),
      fromMinute: minuteOf(window.from ?? "00:00") ?? 0,
      toMinute: minuteOf(window.to ?? "24:00") ?? 0,
      pace: paceOf(window),
    })),
    otherwise: otherwise === "closed" ? undefined : paceOf(otherwise),
  };
}

/** What the hours of a consumer have to fit. */
interface HoursHolder {
  readonly mode?: string;
  readonly concurrency?: number;
  readonly instance?: string;
  readonly batch?: { readonly size: number };
  readonly batchHandler?: unknown;
}

/** What is wrong with the hours of a consumer of this mode. */
export function hoursProblems(hours: HoursOptions | undefined, consumer: HoursHolder): readonly Problem[] {
  if (hours === undefined) return [];
  const { instance, concurrency = 1 } = consumer;
  let { mode = "ordered" } = consumer;
  if (mode === "broadcast") {
    if (instance === undefined) {
      const message = 'needs an instance in mode "broadcast": what comes while it is closed would be lost at a restart';
      return [{ path: "hours", message }];
    }
    // What it is then: see docs/modes.md.
    mode = concurrency === 1 ? "ordered" : "keyed";
  }
  const problems: Problem[] = [];
  const { timeZone = "UTC", windows, otherwise } = hours;
  if (typeof timeZone !== "string" || !isTimeZone(timeZone)) {
    problems.push({ path: "hours.timeZone", message: 'must be a time zone such as "Europe/Berlin"' });
  }
  if (otherwise !== undefined && otherwise !== "closed") {
    if (typeof otherwise === "object" && otherwise !== null) {
      problems.push(...paceProblems(otherwise, "hours.otherwise", mode, consumer));
    } else problems.push({ path: "hours.otherwise", message: 'must be "closed" or { concurrency, rateLimit }' });
  }
  if (!Array.isArray(windows) || windows.length < 1 || windows.length > mostWindows) {
    return [...problems, { path: "hours.windows", message: `must be a list of 1 to ${mostWindows} windows` }];
  }
  for (const [index, window] of (windows as readonly HoursWindow[]).entries()) {
    const path = `hours.windows[${index}]`;
    problems.push(...windowProblems(window, path), ...paceProblems(window, path, mode, consumer));
  }
  return problems;
}

function windowProblems({ name, days: on, from, to }: HoursWindow, path: string): readonly Problem[] {
  const problems: Problem[] = [];
  if (name !== undefined && !(typeof name === "string" && name.length >= 1 && name.length <= 60)) {
    problems.push({ path: `${path}.name`, message: "must be 1 to 60 characters" });
  }
  const isList = on === undefined || (Array.isArray(on) && on.length > 0 && on.every((day) => days.includes(day)));
  if (!isList || new Set(on).size !== (on?.length ?? 0)) {
    problems.push({ path: `${path}.days`, message: `must be some of ${days.join(", ")}, each once` });
  }
  const [begin, end] = [minuteOf(from ?? "00:00"), minuteOf(to ?? "24:00")];
  if (begin === undefined || begin === 1_440) {
    problems.push({ path: `${path}.from`, message: 'must be a time from "00:00" to "23:59"' });
  }
  if (end === undefined) problems.push({ path: `${path}.to`, message: 'must be a time from "00:00" to "24:00"' });
  if (begin !== undefined && begin === end) {
    problems.push({ path: `${path}.to`, message: 'is when it begins; a whole day is from "00:00" to "24:00"' });
  }
  return problems;
}

function paceProblems(
  { concurrency, rateLimit }: HoursPace,
  path: string,
  mode: string,
  { batch, batchHandler }: HoursHolder,
): readonly Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, message: string) => {
    if (!holds) problems.push({ path: `${path}.concurrency`, message });
  };
  const count = concurrency ?? 1;
  require(Number.isInteger(count) && count >= 1 && count <= 10_000, "must be a whole number from 1 to 10,000");
  require(mode !== "ordered" || count === 1, 'must be 1 in mode "ordered"; choose mode "keyed" for more');
  require(mode !== "keyed" ||
    batchHandler === undefined ||
    concurrency === undefined ||
    concurrency >= (batch?.size ?? 0), "must be at least batch.size: it counts messages");
  if (batchHandler !== undefined && rateLimit !== undefined) {
    const message = "cannot go with a batchHandler: it counts single messages";
    problems.push({ path: `${path}.rateLimit`, message });
  }
  for (const problem of rateLimitProblems(rateLimit, mode)) {
    problems.push({ ...problem, path: `${path}.${problem.path}` });
  }
  return problems;
}

/** Minutes since midnight; `undefined` when it is no time of day. */
function minuteOf(time: unknown): number | undefined {
  const match = typeof time === "string" ? /^([01]\d|2[0-3]):([0-5]\d)$|^24:00$/.exec(time) : null;
  if (match === null) return undefined;
  return match[1] === undefined ? 1_440 : Number(match[1]) * 60 + Number(match[2]);
}

function paceOf({ concurrency, rateLimit }: HoursPace): HoursPace {
  return { ...(concurrency === undefined ? {} : { concurrency }), ...(rateLimit === undefined ? {} : { rateLimit }) };
}

function defaultName({ days: on, from = "00:00", to = "24:00" }: HoursWindow): string {
  return on === undefined ? `${from}-${to}` : `${on.join(" ")} ${from}-${to}`;
}
