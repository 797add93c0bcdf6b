import { expect, test } from "bun:test";
import { type Cadence, cadenceProblem, nextTick, ticksUntil } from "./cadence.ts";

const berlin = (cron: string): Cadence => ({ cron, timeZone: "Europe/Berlin", everyMs: null });
const every = (everyMs: number): Cadence => ({ cron: null, timeZone: "UTC", everyMs });
const at = (text: string) => Date.parse(text);

function following(cadence: Cadence, after: string, count: number): string[] {
  const ticks: string[] = [];
  for (let tick = nextTick(cadence, at(after)); tick !== null && ticks.length < count; tick = nextTick(cadence, tick)) {
    ticks.push(new Date(tick).toISOString());
  }
  return ticks;
}

test("[Q11] a cron is kept in its time zone, summer and winter", () => {
  const workdays = berlin("0 9 * * 1-5");
  expect(following(workdays, "2026-03-26T12:00:00Z", 3)).toEqual([
    "2026-03-27T08:00:00.000Z",
    "2026-03-30T07:00:00.000Z",
    "2026-03-31T07:00:00.000Z",
  ]);
});

test("[Q11] a time that the clocks skip comes right after it, once", () => {
  // On March 29, 2026, 02:00 to 03:00 is not in Berlin; 03:00 there is 01:00 in UTC.
  for (const cron of ["30 2 * * *", "30 2,14 * * *"]) {
    const ticks = following(berlin(cron), "2026-03-28T20:00:00Z", 3);
    expect(ticks[0]).toBe("2026-03-29T01:00:00.000Z");
    expect(ticks.filter((tick) => tick.startsWith("2026-03-29T0"))).toHaveLength(1);
  }
  expect(following(berlin("*/30 * * * *"), "2026-03-29T00:29:00Z", 3)).toEqual([
    "2026-03-29T00:30:00.000Z",
    "2026-03-29T01:00:00.000Z",
    "2026-03-29T01:30:00.000Z",
  ]);
});

test("[Q11] a time that comes twice counts once; what comes every half hour goes on through both hours", () => {
  // On October 25, 2026, 02:00 to 03:00 comes twice in Berlin: from 00:00 and from 01:00 in UTC.
  for (const cron of ["30 2 * * *", "30 2,14 * * *"]) {
    const ticks = following(berlin(cron), "2026-10-24T20:00:00Z", 3);
    expect(ticks[0]).toBe("2026-10-25T00:30:00.000Z");
    expect(ticks.filter((tick) => tick.startsWith("2026-10-25T0"))).toHaveLength(1);
  }
  expect(following(berlin("*/30 * * * *"), "2026-10-24T23:59:00Z", 5)).toEqual([
    "2026-10-25T00:00:00.000Z",
    "2026-10-25T00:30:00.000Z",
    "2026-10-25T01:00:00.000Z",
    "2026-10-25T01:30:00.000Z",
    "2026-10-25T02:00:00.000Z",
  ]);
});

test("[Q11] every counts from 1970, so it comes at the same times wherever it was declared", () => {
  expect(following(every(900_000), "2026-11-21T10:07:31Z", 2)).toEqual([
    "2026-11-21T10:15:00.000Z",
    "2026-11-21T10:30:00.000Z",
  ]);
  expect(nextTick(every(1_000), 5_000)).toBe(6_000);
});

test("[Q11] the ticks up to now are all of them, or the last ones, and now counts", () => {
  for (const cadence of [berlin("*/15 * * * * *"), every(15_000)]) {
    const [first, now] = [at("2026-03-29T00:59:30Z"), at("2026-03-29T01:00:30Z")];
    const all = [first, first + 15_000, first + 30_000, first + 45_000, now];
    expect(ticksUntil(cadence, first, now, 1_000)).toEqual(all);
    expect(ticksUntil(cadence, first, now + 14_999, 5)).toEqual(all);
    expect(ticksUntil(cadence, first, now, 2)).toEqual(all.slice(-2));
    expect(ticksUntil(cadence, first, now, 1)).toEqual([now]);
    expect(ticksUntil(cadence, first, now - 1, 1)).toEqual([now - 15_000]);
    expect(ticksUntil(cadence, first, first, 3)).toEqual([first]);
    expect(ticksUntil(cadence, first, first - 1, 3)).toEqual([]);
  }
  // Years of seconds, and years of years.
  expect(ticksUntil(berlin("* * * * * *"), at("2016-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), 1_000)).toHaveLength(
    1_000,
  );
  expect(ticksUntil(every(1_000), at("2016-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), 1_000)).toHaveLength(1_000);
  expect(ticksUntil(berlin("0 0 1 1 *"), at("2023-12-31T23:00:00Z"), at("2026-06-01T00:00:00Z"), 1_000)).toHaveLength(
    3,
  );
});

test("[Q11] the ticks up to now, seen from behind, are those seen from before, also where clocks change", () => {
  for (const cron of ["30 2 * * *", "*/30 * * * *", "30 2,14 * * *", "0 3 * * *"]) {
    for (const day of ["2026-03-29", "2026-10-25"]) {
      const first = nextTick(berlin(cron), at(`${day}T00:00:00Z`) - 86_400_000) ?? 0;
      const now = at(`${day}T00:00:00Z`) + 2 * 86_400_000;
      const all = ticksUntil(berlin(cron), first, now, 1_000);
      for (const most of [1, 2, 3, all.length - 1]) {
        for (const until of [now, ...all.slice(-all.length + most)]) {
          const before = all.filter((tick) => tick <= until).slice(-most);
          expect(ticksUntil(berlin(cron), first, until, most)).toEqual(before);
        }
      }
    }
  }
});

test("[Q11] what is no cron expression, and what never comes, is told", () => {
  for (const cron of [
    "",
    "nine",
    "* * * *",
    "61 * * * *",
    "* * * * * * *",
    "0 0 0 1 1 * 2030",
    "2030-01-01T00:00:00",
    "@often",
  ]) {
    expect(cadenceProblem(berlin(cron)), cron).toBeString();
  }
  expect(cadenceProblem(berlin("0 0 30 2 *"))).toContain("never comes");
  expect(cadenceProblem({ ...berlin("0 9 * * *"), timeZone: "Europe/Atlantis" })).toBeString();
  for (const cron of ["0 9 * * 1-5", "*/5 * * * * *", "@daily", "0 0 29 2 *", "0 12 L * *", " 0 9 * * MON "]) {
    expect(cadenceProblem(berlin(cron)), cron).toBeUndefined();
  }
});
