import { expect, test } from "bun:test";
import { testDatabase } from "@sluice/testkit";
import { silentLogger } from "sluice";
import { openDatabase } from "../database.ts";
import { resultText } from "./results.ts";
import { claim, type Scenario } from "./scenario.ts";
import { ScenarioRefusal, Scenarios } from "./scenarios.ts";

async function open(list: readonly Scenario[], refusal?: string) {
  await using starting = new AsyncDisposableStack();
  const base = starting.use(await testDatabase());
  const openOne = () => openDatabase({ url: base.url, name: "sample", logger: silentLogger });
  const database = await openOne();
  starting.defer(() => database.close());
  const scenarios = new Scenarios({ app: "sample", database, logger: silentLogger, list, refusal });
  starting.defer(() => scenarios.close());
  const parts = starting.move();
  return { database, scenarios, openOne, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

function scenario(name: string, run: Scenario["run"], limitMs?: number): Scenario {
  return { name, title: name, what: `${name}.`, run, ...(limitMs === undefined ? {} : { limitMs }) };
}

const good = scenario("good", async ({ log }) => {
  log("it begins");
  return { report: "a report", claims: [claim("one is one", 1, 1, true)] };
});

const refusalOf = (start: Promise<unknown>) =>
  start.then(
    () => "it began",
    (error: unknown) => (error instanceof ScenarioRefusal ? `${error.status} ${error.message}` : String(error)),
  );

test("a scenario says what it does, and its last result stays in the database; the newest 20 are kept", async () => {
  await using sample = await open([good]);
  const lines: string[] = [];
  for (let run = 0; run < 22; run++) await (await sample.scenarios.start("good", (line) => lines.push(line))).run;
  expect(lines.slice(0, 2)).toEqual(["it begins", "passed"]);
  const [state] = (await sample.scenarios.states()).scenarios;
  expect(state).toMatchObject({ name: "good", isRunning: false, lines: ["it begins", "passed"] });
  expect(state?.last).toMatchObject({ passed: true, report: "a report" });
  expect(state?.last?.claims).toEqual([claim("one is one", 1, 1, true)]);
  const [row] = await sample.database.sql<{ count: number }[]>`select count(*)::int as count from sample.results`;
  expect(row?.count).toBe(20);
});

test.each([
  {
    what: "a claim does not hold",
    result: { report: "", claims: [claim("one is two", 1, 2, false)] },
    says: "one is two",
  },
  { what: "there is no claim at all", result: { report: "", claims: [] }, says: "FAILED" },
  { what: "it throws", result: new Error("the roof came down"), says: "the roof came down" },
])("a scenario has failed when $what", async ({ result, says }) => {
  const run = async () => {
    if (result instanceof Error) throw result;
    return result;
  };
  await using sample = await open([scenario("bad", run)]);
  const judged = await (await sample.scenarios.start("bad")).run;
  expect(judged.passed).toBe(false);
  expect(resultText("Bad", judged)).toContain(says);
});

test("a scenario that ends too late has failed, and does not hold up the next one", async () => {
  const silent = scenario("silent", () => new Promise(() => undefined), 20);
  await using sample = await open([silent, good]);
  expect((await (await sample.scenarios.start("silent")).run).passed).toBe(false);
  expect((await (await sample.scenarios.start("good")).run).passed).toBe(true);
});

test("one at a time: not while one runs, none that is not there, none with a second process about, none when refused", async () => {
  const gate = Promise.withResolvers<void>();
  const slow = scenario("slow", async () => {
    await gate.promise;
    return { report: "", claims: [claim("it is over", 1, 1, true)] };
  });
  await using sample = await open([slow, good]);
  const { scenarios } = sample;
  const { run } = await scenarios.start("slow");
  expect(await refusalOf(scenarios.start("good"))).toBe("409 slow is running");
  const routes = scenarios.routes();
  expect((await routes.request("/good", { method: "POST" })).status).toBe(409);
  expect((await routes.request("/nothing", { method: "POST" })).status).toBe(404);
  gate.resolve();
  expect((await run).passed).toBe(true);

  const second = await sample.openOne();
  expect(await refusalOf(scenarios.start("good"))).toContain("409 another process of this app");
  await second.close();
  expect((await routes.request("/good", { method: "POST" })).status).toBe(202);

  await using refusing = await open([good], "not here");
  expect(await refusalOf(refusing.scenarios.start("good"))).toBe("409 not here");
  expect((await refusing.scenarios.states()).refusal).toBe("not here");
});

test("asked for several times at once, it begins once, and the others are told", async () => {
  const gate = Promise.withResolvers<void>();
  const slow = scenario("slow", async () => {
    await gate.promise;
    return { report: "", claims: [claim("it is over", 1, 1, true)] };
  });
  await using sample = await open([slow]);
  const told = Promise.all([1, 2, 3].map(() => refusalOf(sample.scenarios.start("slow"))));
  expect((await told).toSorted()).toEqual(["409 slow is running", "409 slow is running", "it began"]);
  gate.resolve();
});

test("closing aborts the one that runs, and keeps no result of it", async () => {
  const aborted = Promise.withResolvers<void>();
  const slow = scenario("slow", ({ signal }) => {
    signal.addEventListener("abort", () => aborted.resolve());
    return new Promise(() => undefined);
  });
  await using sample = await open([slow]);
  const { run } = await sample.scenarios.start("slow");
  const outcome = run.catch(() => "aborted");
  await sample.scenarios.close();
  await aborted.promise;
  expect(await outcome).toBe("aborted");
  const rows = await sample.database.sql`select from sample.results`;
  expect(rows).toHaveLength(0);
});
