import type { DeclaredWindow, Hours } from "./hours.ts";

/** Which window counts, and for how long. */
export interface OpenWindow {
  /** The window's place in the list; `undefined`: none is open. */
  readonly window: number | undefined;
  /** When that began, in milliseconds since 1970; 0 when it has always been so. Every process finds the same. */
  readonly sinceMs: number;
  /** When another counts, or none; infinity when that never comes. */
  readonly untilMs: number;
}

const minuteMs = 60_000;
const dayMs = 1_440 * minuteMs;
/** How far to look: whatever comes every week comes within it, also where a clock change leaves it out once. */
const horizonMs = 15 * dayMs;

/**
 * Which window counts at a time: the first one in which the clock on the wall of the time zone stands. So an hour that a clock
 * change leaves out opens nothing, and one that comes twice counts twice.
 */
export function openWindow(hours: Hours, nowMs: number): OpenWindow {
  const wall = new WallClock(hours.timeZone);
  const window = windowAt(hours.windows, wall.at(nowMs));
  // Forwards from a time that lies well before, so that it does not depend on who asks when.
  let sinceMs = 0;
  for (let at = nowMs - horizonMs; ; ) {
    const next = nextChange(hours, wall, at);
    if (next > nowMs) break;
    sinceMs = next;
    at = next;
  }
  return { window, sinceMs, untilMs: nextChange(hours, wall, nowMs) };
}

/** The first moment after a time when another window counts; infinity when there is none in sight. */
function nextChange({ windows }: Hours, wall: WallClock, afterMs: number): number {
  const now = windowAt(windows, wall.at(afterMs));
  const minutes = [0, ...windows.flatMap(({ fromMinute, toMinute }) => [fromMinute, toMinute])];
  const edges = [...new Set([...minutes.map((minute) => (minute % 1_440) * minuteMs), dayMs])].sort((a, b) => a - b);
  for (let at = afterMs; at < afterMs + horizonMs; ) {
    const offset = wall.offset(at);
    const sinceMidnight = modulo(at + offset, dayMs);
    const edge = edges.find((time) => time > sinceMidnight) ?? dayMs;
    const next = at + edge - sinceMidnight;
    // Until the edge the clock on the wall may have been moved: then that moment comes first.
    at = wall.offset(next) === offset ? next : wall.changeBetween(at, next);
    if (windowAt(windows, wall.at(at)) !== now) return at;
  }
  return Number.POSITIVE_INFINITY;
}

/** The first window in which the clock stands; `wallMs` counts as if the zone were UTC. */
function windowAt(windows: readonly DeclaredWindow[], wallMs: number): number | undefined {
  const minute = Math.floor(modulo(wallMs, dayMs) / minuteMs);
  const day = new Date(wallMs).getUTCDay();
  const index = windows.findIndex(({ days, fromMinute, toMinute }) => {
    if (fromMinute < toMinute) return days[day] === true && minute >= fromMinute && minute < toMinute;
    return (days[day] === true && minute >= fromMinute) || (days[(day + 6) % 7] === true && minute < toMinute);
  });
  return index === -1 ? undefined : index;
}

/** The clock on the wall in a time zone. */
class WallClock {
  readonly #format: Intl.DateTimeFormat;

  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat("en-u-ca-gregory-nu-latn", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  }

  /** What it shows, counted as if it were UTC. */
  at(timeMs: number): number {
    return timeMs + this.offset(timeMs);
  }

  /** How far it is ahead of UTC, in milliseconds. */
  offset(timeMs: number): number {
    const seconds = Math.floor(timeMs / 1_000) * 1_000;
    const shown: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(seconds)) shown[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown;
    return Date.UTC(year, month - 1, day, hour, minute, second) - seconds;
  }

  /** The moment at which it is moved, between two times that differ in their offset and are at most a day apart. */
  changeBetween(fromMs: number, toMs: number): number {
    const before = this.offset(fromMs);
    // Clocks are moved on full seconds.
    let [last, first] = [Math.floor(fromMs / 1_000), Math.ceil(toMs / 1_000)];
    while (first - last > 1) {
      const middle = Math.floor((last + first) / 2);
      if (this.offset(middle * 1_000) === before) last = middle;
      else first = middle;
    }
    return first * 1_000;
  }
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
