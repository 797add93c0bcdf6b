import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { dumpSchema, testDatabase } from "@sluice/testkit";
import postgres from "postgres";

setDefaultTimeout(60_000);

async function dumpOf(change?: string): Promise<string> {
  await using database = await testDatabase();
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  try {
    if (change !== undefined) await sql.unsafe(change);
    return await dumpSchema(sql);
  } finally {
    await sql.end();
  }
}

test("migrations/schema.sql is what the migrations make (bun scripts/dump-schema.ts rewrites it)", async () => {
  const { SLUICE_TEST_SERVER: server } = process.env;
  const reviewed = readFileSync(join(import.meta.dirname, "..", "migrations", "schema.sql"), "utf8");
  const actual = await dumpOf();
  expect(actual.length, server).toBeGreaterThan(500);
  expect(actual).toBe(reviewed);
});

test.each([
  "alter table sluice.migrations add column extra integer",
  "alter table sluice.migrations alter column breaking set default false",
  "alter table sluice.migrations drop constraint migrations_hash_check",
  "alter table sluice.migrations set (fillfactor = 50)",
  "create index extra on sluice.migrations (name)",
  "create view sluice.extra as select 1 as one",
  "create function sluice.extra() returns integer language sql return 1",
  "create sequence sluice.extra",
  "create type sluice.extra as enum ('a')",
  "create trigger extra before update on sluice.migrations for each row execute function suppress_redundant_updates_trigger()",
  "grant select on sluice.migrations to public",
  "comment on column sluice.migrations.name is 'else'",
])("the dump shows: %s", async (change) => {
  expect(await dumpOf(change)).not.toBe(await dumpOf());
});
