import { expect, test } from "bun:test";
import { join } from "node:path";
import { startProcess } from "@sluice/app-kit/testing";
import { testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { within30s } from "./testing.ts";

const main = join(import.meta.dirname, "main.ts");

test("a recogniser ends with the app that started it, however that one ends", async () => {
  await using database = await testDatabase();
  await using app = startProcess(main, [], { DATABASE_URL: database.url, PORT: "0" });
  await app.url;
  await using parts = new AsyncDisposableStack();
  const sql = postgres(database.url, { max: 1 });
  parts.defer(() => sql.end());
  const owners = async () => {
    const rows = await sql<{ owner: string }[]>`
      select distinct owner from sluice.lag where "group" = 'faces' and owner is not null`;
    return rows.map((row) => row.owner);
  };
  await within30s("a recogniser is at work", async () => (await owners()).length === 1);
  const pid = Number(/\d+$/.exec((await owners())[0] ?? "")?.[0]);
  expect(process.kill(pid, 0)).toBe(true);
  app.kill("SIGKILL");
  await app.exited;
  await within30s("it has gone", async () => (await owners()).length === 0);
  await within30s("its process has ended", () => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
}, 90_000);

test("a recogniser says in one line what is wrong with its environment", async () => {
  await using app = startProcess(join(import.meta.dirname, "recogniser.ts"), [], { TIME_ZONE: "Moon/Base" });
  expect(await app.exited).toBe(64);
  expect(app.errors()).toBe(
    "recogniser: DATABASE_URL is not set; TIME_ZONE must be a time zone such as Europe/Berlin\n",
  );
}, 30_000);
