import { expect, test } from "bun:test";
import { join } from "node:path";
import { eventually, startProcess } from "@sluice/app-kit/testing";
import { testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { burst } from "./scenarios/burst-plan.ts";

const main = join(import.meta.dirname, "main.ts");

test("when the app is killed, its order service ends with it", async () => {
  await using database = await testDatabase();
  await using app = startProcess(main, [], { DATABASE_URL: database.url, PORT: "0" });
  await app.url;
  const orderService = /order service +(http:\S+)\//.exec(app.output())?.[1];
  expect((await fetch(`${orderService}/health`)).status).toBe(200);
  app.kill("SIGKILL");
  await app.exited;
  await eventually("nobody answers", async () => {
    return await fetch(`${orderService}/health`).then(
      () => false,
      () => true,
    );
  });
  const sql = postgres(database.url, { max: 1 });
  await eventually("nobody is connected", async () => {
    const others = await sql`
      select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
    return others.length === 0;
  });
  await sql.end();
}, 60_000);

test("SIGTERM ends both with 0, and a secret that is too short is one line", async () => {
  await using database = await testDatabase();
  await using app = startProcess(main, [], { DATABASE_URL: database.url, PORT: "0" });
  await app.url;
  app.kill("SIGTERM");
  expect(await app.exited).toBe(0);
  expect(app.errors()).toBe("");
  await using refused = startProcess(main, [], { DATABASE_URL: database.url, SESSION_SECRET: "short" });
  expect(await refused.exited).toBe(64);
  expect(refused.errors()).toBe("flash-sale: SESSION_SECRET must have at least 32 characters\n");
}, 60_000);

test("the load generator is bounded, and ends when it is told to", async () => {
  const plan = {
    url: "http://127.0.0.1:1",
    sale: 1,
    key: "k".repeat(32),
    run: "run",
    count: 10_000,
    perSecond: 100,
    patienceMs: 1_000,
    followMs: 1,
  };
  for (const wrong of [{ count: 15_001 }, { perSecond: 5_001 }, { patienceMs: 60_000 }]) {
    const failure = await burst({ ...plan, ...wrong }, new AbortController().signal).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
  }
  const reason = new Error("that is enough");
  const stop = new AbortController();
  const running = burst(plan, stop.signal).catch((error: unknown) => error);
  stop.abort(reason);
  expect(await running).toBe(reason);
}, 60_000);
