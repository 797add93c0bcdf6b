import { expect, setDefaultTimeout, test } from "bun:test";
import { checkSchema } from "@sluice/store";
import postgres from "postgres";
import { testDatabase } from "./database.ts";

setDefaultTimeout(60_000);

test("a database has the schema, is empty and is one's own", async () => {
  await using first = await testDatabase();
  await using second = await testDatabase();
  expect(first.name).not.toBe(second.name);
  const sql = postgres(first.url, { max: 1 });
  try {
    expect((await checkSchema(sql)).version).toBeGreaterThanOrEqual(0);
  } finally {
    await sql.end();
  }
});

test("a connection that is left open fails the test, and the database goes all the same", async () => {
  const database = await testDatabase({ migrated: false, leakGraceMs: 500 });
  const leaked = postgres(database.url, { max: 1, connection: { application_name: "leaky" } });
  await leaked`select 1`;
  const outcome = await database[Symbol.asyncDispose]().catch((error: unknown) => error);
  expect(String(outcome)).toContain("1 connections to its database open");
  expect(String(outcome)).toContain("leaky");
  await leaked.end({ timeout: 1 });
  await using other = await testDatabase({ migrated: false });
  const sql = postgres(other.url, { max: 1 });
  try {
    expect(await sql`select from pg_database where datname = ${database.name}`).toHaveLength(0);
  } finally {
    await sql.end();
  }
});
