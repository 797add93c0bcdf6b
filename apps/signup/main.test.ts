import { expect, test } from "bun:test";
import { join } from "node:path";
import { startProcess } from "@sluice/app-kit/testing";
import { testDatabase } from "@sluice/testkit";

const main = join(import.meta.dirname, "main.ts");

test("an unknown argument shows the usage and ends with 64", async () => {
  await using app = startProcess(main, ["--twice"]);
  expect(await app.exited).toBe(64);
  expect(app.errors()).toContain("unknown argument: --twice");
  expect(app.errors()).toContain("usage: bun apps/signup/main.ts");
});

test("--help explains and ends with 0", async () => {
  await using app = startProcess(main, ["--help"]);
  expect(await app.exited).toBe(0);
  expect(app.output()).toContain("--once");
  expect(app.output()).toContain("TWILIO_ACCOUNT_SID");
});

test("a database that is not there is one line, not a stack", async () => {
  await using app = startProcess(main, [], { DATABASE_URL: "postgres://nobody:secret@127.0.0.1:1/none" });
  expect(await app.exited).toBe(69);
  expect(app.errors().trim().split("\n")).toHaveLength(1);
  expect(app.errors()).not.toContain("secret");
});

test("a port that is taken is one line", async () => {
  await using database = await testDatabase();
  const occupant = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  try {
    await using app = startProcess(main, [], { DATABASE_URL: database.url, PORT: String(occupant.port) });
    expect(await app.exited).toBe(69);
    expect(app.errors()).toBe(
      `signup: port ${occupant.port} is taken by another program; set PORT to another one, or leave it unset\n`,
    );
  } finally {
    await occupant.stop(true);
  }
}, 60_000);

test("[A8] SIGTERM finishes what is under way and ends with 0, also while somebody looks at the live picture", async () => {
  await using database = await testDatabase();
  await using app = startProcess(main, [], { DATABASE_URL: database.url, PORT: "0" });
  const url = await app.url;
  expect((await fetch(`${url}/health`)).status).toBe(200);
  const picture = await fetch(`${url}/picture`);
  app.kill("SIGTERM");
  expect(await picture.text()).toContain('"topics"');
  expect(await app.exited).toBe(0);
  expect(app.errors()).toBe("");
  expect(app.output()).toContain('psql "$DATABASE_URL"');
}, 60_000);

test("the end of whoever started it ends it, too", async () => {
  await using database = await testDatabase();
  const variables = { DATABASE_URL: database.url, PORT: "0", STOP_WITH_STDIN: "1" };
  await using app = startProcess(main, [], variables);
  await app.url;
  app.closeInput();
  expect(await app.exited).toBe(0);
}, 60_000);
