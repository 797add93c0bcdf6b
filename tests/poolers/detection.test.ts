import { expect, setDefaultTimeout } from "bun:test";
import { findPooling } from "@sluice/store";
import { startPgbouncer, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { connect, silentLogger, topic } from "sluice";
import { z } from "zod";
import { poolerTest } from "./pooled.ts";

setDefaultTimeout(60_000);

const letters = topic("letters", { schema: z.string() });

poolerTest("what stands between is found out: nothing, or which kind of pooler", async () => {
  await using database = await testDatabase();
  expect(await findPooling(database.url, "probe")).toBe("none");
  for (const mode of ["session", "transaction", "statement"] as const) {
    await using pooler = await startPgbouncer(database.url, { mode });
    expect(await findPooling(pooler.url, "probe")).toBe(mode);
  }
});

poolerTest("a pooler in transaction mode is found out whatever it hands out next, and however busy it is", async () => {
  await using database = await testDatabase();
  for (const [poolSize, inTurn] of [
    [1, false],
    [2, true],
    [3, true],
    [8, true],
    [20, false],
  ] as const) {
    await using pooler = await startPgbouncer(database.url, { mode: "transaction", poolSize, inTurn });
    const busy = postgres(pooler.url, { max: poolSize, prepare: false, fetch_types: false });
    // Opens as many connections to the server as the pool may have.
    await Promise.all(Array.from({ length: poolSize }, () => busy.unsafe("select pg_sleep(0.05)")));
    expect(await findPooling(pooler.url, "probe")).toBe("transaction");
    let asking = true;
    const load = async () => {
      while (asking) await busy.unsafe("select 1");
    };
    const loads = Array.from({ length: Math.max(1, poolSize - 1) }, load);
    for (let times = 0; times < 5; times += 1) expect(await findPooling(pooler.url, "probe")).toBe("transaction");
    asking = false;
    await Promise.all(loads);
    await busy.end();
  }
});

poolerTest("behind a pooler in statement mode nothing is begun, and the error says why and what to do", async () => {
  await using database = await testDatabase({ migrated: false });
  await using pooler = await startPgbouncer(database.url, { mode: "statement" });
  const refused = connect({ url: pooler.url, logger: silentLogger });
  await expect(refused).rejects.toMatchObject({ code: "DATABASE_POOLED" });
  await expect(refused).rejects.toThrow(/transactions are impossible.*Nothing was written.*pool_mode/);
});

poolerTest(
  "behind a pooler in transaction mode one line says what that means, and sessionUrl makes it go away",
  async () => {
    await using database = await testDatabase();
    await using pooler = await startPgbouncer(database.url, { mode: "transaction" });
    const warned: string[] = [];
    const logger = {
      isEnabled: () => true,
      log: (level: string, message: string) => {
        if (level === "warn") warned.push(message);
      },
    };
    await (await connect({ url: pooler.url, logger, topics: [letters] })).close();
    expect(warned).toHaveLength(1);
    expect(warned[0]).toMatch(/pooler.*lease.*polling.*SLUICE_SESSION_URL/);
    await (await connect({ url: pooler.url, sessionUrl: database.url, logger })).close();
    await (await connect({ url: database.url, logger })).close();
    expect(warned).toHaveLength(1);
  },
);

poolerTest("a schema that is behind is not migrated through a pooler in transaction mode, but past it", async () => {
  await using database = await testDatabase({ migrated: false });
  await using pooler = await startPgbouncer(database.url, { mode: "transaction" });
  const refused = connect({ url: pooler.url, logger: silentLogger });
  await expect(refused).rejects.toMatchObject({ code: "SCHEMA_OLDER" });
  await expect(refused).rejects.toThrow(/nothing was written.*SLUICE_SESSION_URL/);
  await using sluice = await connect({ url: pooler.url, sessionUrl: database.url, logger: silentLogger });
  expect(await sluice.send(letters, "through the pooler")).toMatchObject({ status: "appended", offset: 0 });
});

poolerTest("a sessionUrl that gives no session, or leads elsewhere, is refused", async () => {
  await using database = await testDatabase();
  await using other = await testDatabase();
  await using pooler = await startPgbouncer(database.url, { mode: "transaction" });
  const direct = connect({ url: database.url, sessionUrl: pooler.url, logger: silentLogger });
  await expect(direct).rejects.toMatchObject({ code: "DATABASE_POOLED" });
  const elsewhere = connect({ url: pooler.url, sessionUrl: other.url, logger: silentLogger });
  await expect(elsewhere).rejects.toMatchObject({ code: "DATABASE_POOLED" });
  await expect(elsewhere).rejects.toThrow(/another database/);
});
