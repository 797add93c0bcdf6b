import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { temporaryFolder, testDatabase } from "@sluice/testkit";
import { silentLogger } from "sluice";
import { openDatabase } from "./database.ts";

const first = `
  create schema if not exists hello;
  create table if not exists hello.greeting (name text not null);
  create index if not exists greeting_by_name on hello.greeting (name);`;

test("who starts does not wait for those at work; a file that has changed is applied", async () => {
  await using base = await testDatabase();
  using folder = temporaryFolder("database");
  mkdirSync(join(folder.path, "hello"));
  const file = join(folder.path, "hello", "schema.sql");
  const open = async (text: string) => {
    writeFileSync(file, text);
    return await openDatabase({ url: base.url, name: "hello", schema: pathToFileURL(file), logger: silentLogger });
  };
  const working = await open(first);
  await working.sql.begin(async (transaction) => {
    await transaction`insert into hello.greeting values ('at work')`;
    const beside = await open(first);
    await beside.close();
  });
  const changed = await open(`${first} alter table hello.greeting add column if not exists language text;`);
  expect([...(await changed.sql`select name, language from hello.greeting`)]).toEqual([
    { name: "at work", language: null },
  ]);
  await changed.close();
  await working.close();
});
