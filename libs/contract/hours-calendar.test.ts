import { expect, test } from "bun:test";
import fc from "fast-check";
import { z } from "zod";
import { consumer } from "./consumer.ts";
import { type Day, type Hours, type HoursWindow, hoursOf } from "./hours.ts";
import { openWindow } from "./hours-calendar.ts";
import { topic } from "./topic.ts";

const minuteMs = 60_000;
const dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

/** Days on which clocks are moved, and one on which nothing happens. Lord Howe moves them by half an hour. */
const places = [
  ["Europe/Berlin", "2026-03-29", "2026-10-25", "2026-06-10"],
  ["America/New_York", "2026-03-08", "2026-11-01", "2026-06-10"],
  ["Asia/Kathmandu", "2026-03-29", "2026-10-25", "2026-06-10"],
  ["Australia/Lord_Howe", "2026-04-05", "2026-10-04", "2026-06-10"],
  // Where a day was left out, and where the clocks are moved at midnight.
  ["Pacific/Apia", "2011-12-30", "2011-12-31"],
  ["Africa/Cairo", "2026-04-24", "2026-10-30"],
] as const;

const times = fc.integer({ min: 0, max: 48 }).map((half) => text(half * 30));

function text(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}

const windows = fc
  .array(
    fc
      .record({
        days: fc.option(fc.subarray([...dayNames], { minLength: 1 }), { nil: undefined }),
        from: times.filter((time) => time !== "24:00"),
        to: times,
      })
      .filter(({ from, to }) => from !== to),
    { minLength: 1, maxLength: 4 },
  )
  .map((list) => list.map(({ days, ...rest }): HoursWindow => (days === undefined ? rest : { ...rest, days })));

/** The law by itself: the first window in whose days and times lies what the clock on the wall shows. */
function model(timeZone: string, list: readonly HoursWindow[]): (timeMs: number) => number | undefined {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return (timeMs) => {
    const parts = Object.fromEntries(format.formatToParts(timeMs).map(({ type, value }) => [type, value]));
    const now = `${parts["hour"]}:${parts["minute"]}`;
    const today = String(parts["weekday"]).slice(0, 3).toLowerCase() as Day;
    const yesterday = dayNames[(dayNames.indexOf(today) + 6) % 7] as Day;
    const isOn = (days: readonly Day[] | undefined, day: Day) => days === undefined || days.includes(day);
    const found = list.findIndex(({ days, from = "00:00", to = "24:00" }) =>
      from < to
        ? isOn(days, today) && now >= from && now < to
        : (isOn(days, today) && now >= from) || (isOn(days, yesterday) && now < to),
    );
    return found === -1 ? undefined : found;
  };
}

/** What is wrong with the calendar, minute by minute over two days around a date. */
function mistakes(calendar: typeof openWindow, timeZone: string, date: string, list: readonly HoursWindow[]): string[] {
  const hours: Hours = hoursOf({ timeZone, windows: list });
  const right = model(timeZone, list);
  const begin = Date.parse(`${date}T00:00:00Z`) - 1_440 * minuteMs;
  const found: string[] = [];
  let said: ReturnType<typeof openWindow> | undefined;
  let before = right(begin - minuteMs);
  for (let at = begin; at < begin + 2 * 1_440 * minuteMs && found.length === 0; at += minuteMs) {
    const expected = right(at);
    const when = `${timeZone} ${new Date(at).toISOString()}`;
    if (said !== undefined && at < said.untilMs && said.window !== expected) found.push(`${when}: changed unannounced`);
    if (said === undefined || at >= said.untilMs) {
      const next = calendar(hours, at);
      if (next.window !== expected) found.push(`${when}: ${next.window}, not ${expected}`);
      if (next.sinceMs > at || next.untilMs <= at) found.push(`${when}: not between its ends`);
      if (said !== undefined && (before === expected || next.sinceMs !== at))
        found.push(`${when}: a change that is none`);
      // Whoever asks in the middle hears the same.
      if (calendar(hours, Math.min(at + 7 * minuteMs, next.untilMs - 1)).sinceMs !== next.sinceMs)
        found.push(`${when}: began at another time for whoever asked later`);
      said = next;
    }
    before = expected;
  }
  return found;
}

for (const [timeZone, ...dates] of places) {
  test(`[K8] windows are what the clock on the wall says, minute by minute, also where it is moved (${timeZone})`, () => {
    fc.assert(
      fc.property(fc.constantFrom(...dates), windows, (date, list) => {
        expect(mistakes(openWindow, timeZone, date, list)).toEqual([]);
      }),
      { numRuns: 15 },
    );
  });
}

test("the model sees a calendar that takes a zone's clock to be never moved", () => {
  const naive: typeof openWindow = (hours, nowMs) => {
    const offset = 3_600_000;
    const shifted = openWindow({ ...hours, timeZone: "UTC" }, nowMs + offset);
    const back = (timeMs: number) => (timeMs === 0 ? 0 : timeMs - offset);
    return { ...shifted, sinceMs: back(shifted.sinceMs), untilMs: back(shifted.untilMs) };
  };
  const list: HoursWindow[] = [{ from: "08:00", to: "18:00" }];
  expect(mistakes(naive, "Europe/Berlin", "2026-01-14", list)).toEqual([]);
  expect(mistakes(naive, "Europe/Berlin", "2026-03-29", list)).not.toEqual([]);
});

test("an hour that does not exist opens nothing, and one that comes twice is open twice", () => {
  const hours = hoursOf({ timeZone: "Europe/Berlin", windows: [{ from: "02:00", to: "03:00" }] });
  const spring = openWindow(hours, Date.parse("2026-03-28T12:00:00Z"));
  expect(spring).toEqual({
    window: undefined,
    sinceMs: Date.parse("2026-03-28T02:00:00Z"),
    untilMs: Date.parse("2026-03-30T00:00:00Z"),
  });
  const autumn = openWindow(hours, Date.parse("2026-10-25T01:30:00Z"));
  expect(autumn).toEqual({
    window: 0,
    sinceMs: Date.parse("2026-10-25T00:00:00Z"),
    untilMs: Date.parse("2026-10-25T02:00:00Z"),
  });
});

test("a window over midnight belongs to the day on which it begins; the first of several counts", () => {
  const at = (time: string) =>
    openWindow(
      hoursOf({
        windows: [
          { days: ["fri"], from: "22:00", to: "06:00" },
          { days: ["sat"], from: "00:00", to: "24:00" },
        ],
      }),
      Date.parse(time),
    ).window;
  expect(["2026-06-12T21:59Z", "2026-06-12T22:00Z", "2026-06-13T05:59Z", "2026-06-13T06:00Z"].map(at)).toEqual([
    undefined,
    0,
    0,
    1,
  ]);
  expect(["2026-06-13T23:59Z", "2026-06-14T00:00Z", "2026-06-12T05:00Z"].map(at)).toEqual([1, undefined, undefined]);
  const always = openWindow(hoursOf({ windows: [{}] }), Date.parse("2026-06-13T00:00Z"));
  expect(always).toEqual({ window: 0, sinceMs: 0, untilMs: Number.POSITIVE_INFINITY });
});

test("hours that cannot be meant are refused with all their problems", () => {
  const steps = topic("steps", { schema: z.number() });
  const paths = (options: object) => {
    try {
      consumer(steps, { group: "g", handler: () => undefined, ...options } as never);
      return [];
    } catch (error) {
      return (error as { problems: { path: string }[] }).problems.map(({ path }) => path);
    }
  };
  const windows = [
    { name: "", days: ["monday"], from: "24:00", to: "25:00" },
    { days: [], from: "8:00" },
    { days: ["mon", "mon"], from: "08:00", to: "08:00", concurrency: 2 },
    { rateLimit: { messages: 0, per: "1s" } },
  ];
  expect(paths({ hours: { timeZone: "Mars/Olympus", windows, otherwise: "shut" } })).toEqual([
    "hours.timeZone",
    "hours.otherwise",
    "hours.windows[0].name",
    "hours.windows[0].days",
    "hours.windows[0].from",
    "hours.windows[0].to",
    "hours.windows[1].days",
    "hours.windows[1].from",
    "hours.windows[2].days",
    "hours.windows[2].to",
    "hours.windows[2].concurrency",
    "hours.windows[3].rateLimit.messages",
  ]);
  expect(paths({ hours: { windows: [] } })).toEqual(["hours.windows"]);
  expect(paths({ hours: { windows: [{}] }, mode: "broadcast" })).toEqual(["hours"]);
  expect(paths({ hours: { windows: [{ from: "08:00", to: "24:00" }], otherwise: "closed" } })).toEqual([]);
});
