import { expect, test } from "bun:test";
import { atRate, until } from "./at-rate.ts";
import { Crowd } from "./crowd.ts";
import { arrivals, arrivalsText } from "./exactly-once.ts";
import { percentile } from "./percentile.ts";
import { measureByTurns } from "./post.ts";
import { milliseconds, table } from "./table.ts";

test("a table is aligned by what is widest, and by letters rather than bytes", () => {
  const rows = [
    ["way", "p50"],
    ["sérial ✓", "151 ms"],
    ["b", "9.0 ms"],
  ];
  expect(table(rows, ["left", "right"])).toBe(
    ["way          p50", "────────  ──────", "sérial ✓  151 ms", "b         9.0 ms"].join("\n"),
  );
  expect([0.26, 9.94, 151.4].map(milliseconds)).toEqual(["0.3 ms", "9.9 ms", "151 ms"]);
});

test("percentiles are values that were measured, by nearest rank", () => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index);
  expect(percentile(values, 0.5)).toBe(100);
  expect(percentile(values, 0.99)).toBe(198);
  expect(percentile([7], 0.99)).toBe(7);
  expect(percentile([], 0.5)).toBeNaN();
});

test("arrivals tell who is missing, who came twice, and who was never expected", () => {
  expect(arrivals(["a", "b", "c"], ["b", "c", "c", "x"])).toEqual({
    expected: 3,
    exactlyOnce: 1,
    missing: ["a"],
    doubled: ["c"],
    others: ["x"],
    isClean: false,
  });
  expect(arrivalsText(arrivals(["a", "b"], ["b", "b"]))).toBe("0 of 2; 1 missing: a; 1 more than once: b");
  expect(arrivals(["a"], ["a"]).isClean).toBe(true);
});

test("a slow answer does not thin out the load: all questions are asked before the first answer is there", async () => {
  let asked = 0;
  const all = Promise.withResolvers<void>();
  const answers = await atRate({ count: 5, perSecond: 1_000 }, async (index) => {
    if (++asked === 5) all.resolve();
    await all.promise;
    return index;
  });
  expect(answers.map((answer) => answer.result)).toEqual([0, 1, 2, 3, 4]);
});

test("what is asked late counts from when it was due", async () => {
  // The machine stands still for 50 ms while the first is asked; the other nine were due meanwhile.
  const answers = await atRate({ count: 10, perSecond: 1_000 }, async (index) => {
    if (index === 0) Bun.sleepSync(50);
  });
  expect(answers[1]?.tookMs).toBeGreaterThanOrEqual(48);
  expect(answers[9]?.tookMs).toBeGreaterThanOrEqual(40);
});

test("the first failure ends the load", async () => {
  let asked = 0;
  const load = atRate({ count: 1_000, perSecond: 1 }, async () => {
    asked += 1;
    throw new Error("broken");
  });
  expect(await load.catch((error: unknown) => String(error))).toBe("Error: broken");
  expect(asked).toBe(1);
});

test("an aborted load fails with the reason, and begins nothing more", async () => {
  const stop = new AbortController();
  let asked = 0;
  const load = atRate({ count: 1_000, perSecond: 1, signal: stop.signal }, async () => {
    asked += 1;
    stop.abort(new Error("enough"));
  });
  expect(await load.catch((error: unknown) => String(error))).toBe("Error: enough");
  expect(asked).toBe(1);
  expect(await until(() => false, 1)).toBe(false);
});

test("by turns, each address gets its share, and failures are counted where they happened", async () => {
  const seen: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const path = new URL(request.url).pathname;
      seen.push(path);
      return new Response("", { status: path === "/bad" ? 500 : 201 });
    },
  });
  try {
    const url = `http://127.0.0.1:${server.port}`;
    const people = new Crowd().next(7);
    const found = await measureByTurns({ good: `${url}/good`, bad: `${url}/bad` }, people, { perSecond: 1_000 });
    expect([found.good.count, found.good.failed, found.bad.count, found.bad.failed]).toEqual([4, 0, 3, 3]);
    expect(seen.filter((path) => path === "/good")).toHaveLength(4);
  } finally {
    await server.stop(true);
  }
});

test("nobody of a crowd is somebody of another", () => {
  const crowd = new Crowd();
  const people = [...crowd.next(3), ...crowd.next(2), ...new Crowd().next(1)];
  expect(new Set(people.map(({ email }) => email)).size).toBe(6);
  expect(new Set(crowd.people.map(({ phone }) => phone)).size).toBe(5);
  for (const { phone } of people) expect(phone).toMatch(/^\+999\d{12}$/);
});
