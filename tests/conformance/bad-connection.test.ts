import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { testDatabase } from "@sluice/testkit";
import { connect, type ErrorCode, errorLine, errorTable, isSluiceError, silentLogger } from "sluice";
import { eventually, type World, world } from "./harness.ts";

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Starts the fixture with its DATABASE_URL under the runtime that runs this test. */
function runFixture(url: string | undefined, variables: Readonly<Record<string, string>> = {}) {
  const isDeno = "Deno" in globalThis;
  const before = isDeno ? ["run", "--allow-all", "--no-check", "--no-lock", "--no-remote"] : [];
  const child = spawn(process.execPath, [...before, join(import.meta.dirname, "run-fixture.ts")], {
    env: { ...process.env, NO_COLOR: "1", ...variables, DATABASE_URL: url ?? "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (part: Uint8Array) => {
    output += part;
  });
  child.stderr.on("data", (part: Uint8Array) => {
    errors += part;
  });
  const ended = once(child, "close").then(([code]): Ended => ({ code: code as number | null, output, errors }));
  return { child, ended };
}

/** Refused the same way by connect and by an app in a process of its own: its code, one line, no stack, no secret. */
async function refused(url: string, code: ErrorCode, variables: Readonly<Record<string, string>> = {}): Promise<void> {
  const createTopics = variables["FIXTURE_CREATES_TOPICS"] !== "no";
  if (createTopics) {
    await assert.rejects(connect({ url, logger: silentLogger }), (error) => {
      assert.ok(isSluiceError(error, code), `${code} expected: ${error}`);
      assert.equal(errorLine(error).includes("\n"), false);
      return true;
    });
  }
  const { code: exitCode, output, errors } = await runFixture(url, variables).ended;
  assert.equal(output, "");
  assert.match(errors, new RegExp(`^fixture: [^\\n]+ \\[${code}\\]\\n$`));
  assert.equal(errors.includes("    at "), false, "no stack");
  assert.equal(errors.includes("s3cret"), false, "no password");
  assert.equal(exitCode, errorTable[code].exitCode);
}

function changed(url: string, change: (url: URL) => void): string {
  const copy = new URL(url);
  change(copy);
  return copy.href;
}

/** A role that may log in and nothing else; it is the server's, so it goes with the test. */
async function roleWithoutPrivileges(here: World) {
  const name = `sluice_test_role_${randomBytes(6).toString("hex")}`;
  await here.sql.unsafe(`create role ${name} login password 's3cret'`);
  return {
    as: (url: string) =>
      changed(url, (copy) => {
        copy.username = name;
        copy.password = "s3cret";
      }),
    [Symbol.asyncDispose]: async () => {
      await here.sql.unsafe(`drop role ${name}`);
    },
  };
}

async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

test("a database where nobody listens", { timeout: 60_000 }, async () => {
  await refused(`postgres://ada:s3cret@127.0.0.1:${await closedPort()}/x`, "DATABASE_UNREACHABLE");
});

test("a host that does not resolve", { timeout: 60_000 }, async () => {
  await refused("postgres://ada:s3cret@nowhere.invalid:5432/x", "DATABASE_UNREACHABLE");
});

test("a connection string that is no URL", { timeout: 60_000 }, async () => {
  await refused("host=localhost password=s3cret", "INVALID_OPTIONS");
});

test("each option of a connection that means nothing is named, and nothing is asked of any server", async () => {
  const wrong = { url: "foo", sessionUrl: "https://example.invalid/x", name: "a\0b", maxBlock: "101y" as "1d" };
  const names = (error: unknown) =>
    (isSluiceError(error, "INVALID_OPTIONS") ? error.problems : []).map(({ path }) => path);
  await assert.rejects(connect(wrong), (error) => {
    assert.deepEqual(names(error).sort(), ["maxBlock", "name", "sessionUrl", "url"]);
    return true;
  });
});

test("a connection string that is a URL of something else", { timeout: 60_000 }, async () => {
  await refused("https://ada:s3cret@example.invalid/x", "INVALID_OPTIONS");
});

test("no connection string at all", { timeout: 60_000 }, async () => {
  const { code, errors } = await runFixture(undefined).ended;
  assert.match(errors, /^fixture: [^\n]*DATABASE_URL[^\n]*\[INVALID_OPTIONS\]\n$/);
  assert.equal(code, 64);
});

test("a wrong password", { timeout: 60_000 }, async (t) => {
  await using here = await world();
  await using role = await roleWithoutPrivileges(here);
  const wrong = changed(role.as(here.url), (url) => {
    url.password = "s3cret-but-wrong";
  });
  const trusting = await connect({ url: wrong, logger: silentLogger }).then(
    async (sluice) => {
      await sluice.close();
      return true;
    },
    (error: unknown) => !isSluiceError(error, "DATABASE_AUTHENTICATION"),
  );
  if (trusting) {
    t.skip("this server asks for no password");
    return;
  }
  await refused(wrong, "DATABASE_AUTHENTICATION");
});

test("a user who does not exist", { timeout: 60_000 }, async () => {
  await using here = await world();
  const unknown = changed(here.url, (url) => {
    url.username = "sluice_test_nobody";
    url.password = "s3cret";
  });
  await refused(unknown, "DATABASE_AUTHENTICATION");
});

test("a database that does not exist", { timeout: 60_000 }, async () => {
  await using here = await world();
  const unknown = changed(here.url, (url) => {
    url.pathname = "/sluice_test_nowhere";
  });
  await refused(unknown, "DATABASE_ERROR");
});

test("a role without privileges, on a database with the schema and on one without", { timeout: 60_000 }, async () => {
  await using here = await world();
  await using role = await roleWithoutPrivileges(here);
  await refused(role.as(here.url), "DATABASE_PRIVILEGE");
  await using empty = await testDatabase({ migrated: false });
  await refused(role.as(empty.url), "DATABASE_PRIVILEGE");
});

test("a topic that does not exist, for an app that may not make it", { timeout: 60_000 }, async () => {
  await using here = await world();
  await refused(here.url, "UNKNOWN_TOPIC", { FIXTURE_CREATES_TOPICS: "no" });
});

test("a schema that is newer than the code", { timeout: 60_000 }, async () => {
  await using here = await world();
  await here.sql`
    insert into sluice.migrations (number, name, hash, breaking) values (9999, '9999_future', repeat('a', 64), true)`;
  await refused(here.url, "SCHEMA_NEWER");
  await here.sql`update sluice.migrations set breaking = false where number = 9999`;
  await (await here.connect()).close();
});

test("a schema that was edited after it had been applied", { timeout: 60_000 }, async () => {
  await using here = await world();
  await here.sql`update sluice.migrations set hash = repeat('b', 64) where number = 0`;
  await refused(here.url, "SCHEMA_CHANGED");
});

test("a schema that is older, for a process that may not migrate", { timeout: 60_000 }, async () => {
  await using empty = await testDatabase({ migrated: false });
  await assert.rejects(connect({ url: empty.url, migrate: false, logger: silentLogger }), (error) =>
    isSluiceError(error, "SCHEMA_OLDER"),
  );
});

test("an app that starts drains on SIGTERM and ends with 0, having said nothing", { timeout: 60_000 }, async () => {
  await using here = await world();
  const { child, ended } = runFixture(here.url);
  await eventually("the fixture owns its partition", async () => {
    const [row] = await here.sql`select 1 from sluice.lag where "group" = 'ticking' and owner is not null`;
    return row;
  });
  // Not child.kill(): Deno then reports the end as one by that signal, whatever the exit code was.
  process.kill(child.pid as number, "SIGTERM");
  assert.deepEqual(await ended, { code: 0, output: "", errors: "" });
  const members = await here.sql`select from sluice.members`;
  assert.equal(members.length, 0, "it has left");
});
