import { expect, setDefaultTimeout, test } from "bun:test";
import { startProxy, testDatabase } from "@sluice/testkit";
import { Pool } from "./pool.ts";

setDefaultTimeout(60_000);

/** Longer than a call may be silent when nobody works on it, with two looks meanwhile. */
const sleep = "select pg_sleep(10), 'slept' as answer";

test("[R10] a call that the server works on is waited for, and what is never answered is given up and ended, with a pooler in between or not", async () => {
  await using database = await testDatabase();
  await using proxy = await startProxy(database.url);
  const open = (isPooled: boolean) =>
    new Pool(proxy.url, { connections: 3, applicationName: isPooled ? "pooled" : "direct", isPooled });
  const looking = new Pool(database.url, { connections: 1, applicationName: "looking" });
  const pools = [open(false), open(true)];
  try {
    await Promise.all(
      pools.map(async (pool) => {
        const rows = await pool.query<{ answer: string }>("sleeping", sleep);
        expect(rows[0]?.answer).toBe("slept");
      }),
    );
    proxy.silence();
    const from = performance.now();
    const lost = pools.map((pool) => pool.query("asking", "select 1").catch((error: unknown) => error));
    for (const error of await Promise.all(lost)) expect(error).toMatchObject({ code: "DATABASE_TIMEOUT" });
    expect(performance.now() - from).toBeLessThan(20_000);
    expect(await Promise.all(pools.map((pool) => pool.query("asking", "select 1 as one")))).toHaveLength(2);
    const left = await looking.query("looking", "select from pg_stat_activity where application_name = 'direct'");
    expect(left.length).toBeLessThanOrEqual(1);
  } finally {
    await Promise.all([...pools, looking].map((pool) => pool.close(1_000)));
    proxy.cutAll();
  }
});

test("[R10] a call still has its own deadline while the server works on it", async () => {
  await using database = await testDatabase();
  const pool = new Pool(database.url, { connections: 1, applicationName: "test" });
  const called = pool.query("sleeping", "select pg_sleep(2)", [], 500).catch((error: unknown) => error);
  expect(await called).toMatchObject({ code: "DATABASE_TIMEOUT" });
  expect(await pool.query("asking", "select 1 as one")).toHaveLength(1);
  await pool.close(3_000);
});
