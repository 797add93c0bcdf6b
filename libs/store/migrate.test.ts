import { expect, setDefaultTimeout, test } from "bun:test";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { checkSchema, type MigrationReport, migrate } from "./migrate.ts";
import { defineMigration, type Migration } from "./migration.ts";
import { migrations } from "./migrations.ts";

setDefaultTimeout(60_000);

const ledger = migrations.slice(0, 1);
const step = (name: string, statements: string, breaking = "no") =>
  defineMigration(name, `-- breaking: ${breaking}\n${statements}`);
const one = step("0001_one", "create table sluice.one (value integer);");
const two = step("0002_two", "create table sluice.two (value integer);");

interface Setup extends AsyncDisposable {
  readonly sql: postgres.Sql;
  readonly url: string;
}

/** An empty database with the given migrations applied. */
async function setup(applied: readonly Migration[] = []): Promise<Setup> {
  const database = await testDatabase({ migrated: false });
  const sql = postgres(database.url, { max: 3, onnotice: () => undefined });
  if (applied.length > 0) await migrate(sql, { migrations: applied });
  return {
    sql,
    url: database.url,
    async [Symbol.asyncDispose]() {
      await sql.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function tables(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = 'sluice'::regnamespace and relkind = 'r' order by relname`;
  return rows.map((row) => row.name);
}

test("every file in migrations/ is listed, in order, under its own name", () => {
  const folder = join(import.meta.dirname, "..", "..", "migrations");
  const files = readdirSync(folder).filter((name) => /^\d/.test(name));
  expect(files.length).toBeGreaterThan(0);
  expect([...migrations]).toEqual(
    files.sort().map((name) => defineMigration(name.replace(/\.sql$/, ""), readFileSync(join(folder, name), "utf8"))),
  );
});

test("an empty database gets all migrations, and then none", async () => {
  await using empty = await setup();
  const told: string[] = [];
  const first = await migrate(empty.sql, { onApply: (name) => told.push(name) });
  const names = migrations.map((migration) => migration.name);
  expect(first).toEqual({ applied: names, version: migrations.at(-1)?.number ?? -1 });
  expect(told).toEqual(names);
  expect(await migrate(empty.sql)).toEqual({ applied: [], version: first.version });
  expect(await checkSchema(empty.sql)).toEqual({ version: first.version });
});

test("twenty callers at once apply each migration once", async () => {
  await using empty = await setup();
  const pools = Array.from({ length: 20 }, () => postgres(empty.url, { max: 1, onnotice: () => undefined }));
  try {
    const reports = await Promise.all(pools.map((sql) => migrate(sql, { migrations: [...ledger, one, two] })));
    expect(reports.flatMap((report) => report.applied)).toEqual(["0000_ledger", "0001_one", "0002_two"]);
    expect(new Set(reports.map((report) => report.version))).toEqual(new Set([2]));
  } finally {
    await Promise.all(pools.map((sql) => sql.end()));
  }
});

test("twenty processes at once apply each migration once", async () => {
  await using empty = await setup();
  const run = promisify(execFile);
  const fixture = join(import.meta.dirname, "migrate-fixture.ts");
  const outputs = await Promise.all(Array.from({ length: 20 }, () => run(process.execPath, [fixture, empty.url])));
  const reports = outputs.map(({ stdout }) => JSON.parse(stdout) as MigrationReport);
  expect(reports.flatMap((report) => [...report.applied]).sort()).toEqual(
    migrations.map((migration) => migration.name),
  );
});

test("the lock is released, also after a failure", async () => {
  await using database = await setup(ledger);
  const broken = step("0001_broken", "select 1 / 0;");
  await expect(migrate(database.sql, { migrations: [...ledger, broken] })).rejects.toThrow();
  const locks =
    await database.sql`select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`;
  expect(locks).toHaveLength(0);
});

test("a failing migration names itself and is rolled back whole; those before it stay", async () => {
  await using database = await setup(ledger);
  const broken = step("0002_broken", "create table sluice.half (value integer);\nselect 'secret'::integer;");
  const outcome = await migrate(database.sql, { migrations: [...ledger, one, broken] }).catch(
    (error: unknown) => error,
  );
  expect(outcome).toMatchObject({ code: "DATABASE_ERROR", sqlState: "22P02" });
  expect(String(outcome)).toContain("0002_broken");
  expect(String(outcome)).not.toContain("secret");
  expect(await tables(database.sql)).toEqual(["migrations", "one"]);
  expect(await migrate(database.sql, { migrations: [...ledger, one, two] })).toEqual({
    applied: ["0002_two"],
    version: 2,
  });
});

test("a migration and its row in the ledger commit together or not at all", async () => {
  await using database = await setup(ledger);
  // The statements succeed and the row does not: the ledger refuses names of more than 200 letters.
  const unrecorded = step(`0001_${"a".repeat(200)}`, "create table sluice.unrecorded (value integer);");
  await expect(migrate(database.sql, { migrations: [...ledger, unrecorded] })).rejects.toMatchObject({
    sqlState: "23514",
  });
  expect(await tables(database.sql)).toEqual(["migrations"]);
});

test("an edited migration is refused by the name of its file, and nothing is applied", async () => {
  await using database = await setup([...ledger, one]);
  const edited = step("0001_one", "create table sluice.one (value bigint);");
  const withEdited = { migrations: [...ledger, edited, two] };
  for (const call of [migrate, checkSchema]) {
    const outcome = await call(database.sql, withEdited).catch((error: unknown) => error);
    expect(outcome).toMatchObject({ code: "SCHEMA_CHANGED" });
    expect(String(outcome)).toContain("0001_one.sql");
  }
  expect(await tables(database.sql)).toEqual(["migrations", "one"]);
});

test("line ends are not part of a migration", () => {
  expect(defineMigration("0001_one", one.text.replaceAll("\n", "\r\n"))).toEqual(one);
});

test("older code runs on a newer schema unless the newer is breaking", async () => {
  const older = { migrations: [...ledger, one] };
  await using compatible = await setup([...ledger, one, two]);
  expect(await checkSchema(compatible.sql, older)).toEqual({ version: 2 });
  expect(await migrate(compatible.sql, older)).toEqual({ applied: [], version: 2 });

  await using breaking = await setup([...ledger, one, step("0002_break", "select 1;", "yes")]);
  for (const call of [migrate, checkSchema]) {
    const outcome = await call(breaking.sql, older).catch((error: unknown) => error);
    expect(outcome).toMatchObject({ code: "SCHEMA_NEWER" });
    expect(String(outcome)).toContain("0002_break");
  }
});

test("a schema that lacks a migration is older, an empty database too", async () => {
  await using empty = await setup();
  await expect(checkSchema(empty.sql, { migrations: ledger })).rejects.toMatchObject({ code: "SCHEMA_OLDER" });
  await using database = await setup(ledger);
  const outcome = await checkSchema(database.sql, { migrations: [...ledger, one] }).catch((error: unknown) => error);
  expect(outcome).toMatchObject({ code: "SCHEMA_OLDER" });
  expect(String(outcome)).toContain("0001_one");
});

test("a role that may not create is told so", async () => {
  await using database = await setup();
  const role = `sluice_test_role_${process.pid}_${Date.now()}`;
  await database.sql.unsafe(`create role ${role} login password 'limited'`);
  const url = new URL(database.url);
  url.username = role;
  url.password = "limited";
  const limited = postgres(url.href, { max: 1 });
  try {
    await expect(migrate(limited, { migrations: ledger })).rejects.toMatchObject({ code: "DATABASE_PRIVILEGE" });
  } finally {
    await limited.end();
    await database.sql.unsafe(`drop role ${role}`);
  }
});

test("names without a schema are refused rather than put anywhere", async () => {
  await using database = await setup(ledger);
  const stray = step("0001_stray", "create table stray (value integer);");
  await expect(migrate(database.sql, { migrations: [...ledger, stray] })).rejects.toMatchObject({
    code: "DATABASE_PRIVILEGE",
  });
});

test("a migration without a number or without a first line about breaking is refused", () => {
  const text = "-- breaking: no\nselect 1;";
  expect(() => defineMigration("log", text)).toThrow("0001_what_it_does");
  expect(() => defineMigration("0001_log", "select 1;")).toThrow("breaking");
});
