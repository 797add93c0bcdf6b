import { expect, setDefaultTimeout } from "bun:test";
import { join } from "node:path";
import { startPgbouncer, testDatabase, testServer } from "@sluice/testkit";
import { poolerTest } from "./pooled.ts";

setDefaultTimeout(300_000);

const root = join(import.meta.dirname, "..", "..");

/** Runs files of tests/conformance against a server. Resolves with what the run said if something failed, and how many tests passed. */
async function conformance(
  server: string,
  files: readonly string[],
): Promise<{ readonly failed: string; readonly passed: number }> {
  const paths = files.map((file) => `./tests/conformance/${file}.test.ts`);
  const child = Bun.spawn([process.execPath, "test", "--timeout=60000", ...paths], {
    cwd: root,
    env: { ...process.env, SLUICE_TEST_SERVER: server },
    stdout: "ignore",
    stderr: "pipe",
  });
  const [text, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  return { failed: code === 0 ? "" : text, passed: Number(/^\s*(\d+) pass$/m.exec(text)?.[1] ?? 0) };
}

/** The URL of the test server through a pooler, where every database of a test can be made and dropped. */
async function serverThrough(mode: "session" | "transaction") {
  // Makes the template that the tests' databases are copies of, straight.
  await (await testDatabase())[Symbol.asyncDispose]();
  const pooler = await startPgbouncer(await testServer(), { mode, useOnce: true });
  const url = new URL(pooler.url);
  // For the tests' own clients; Sluice finds out by itself.
  if (mode === "transaction") url.searchParams.set("prepare", "false");
  return { url: url.href, [Symbol.asyncDispose]: () => pooler[Symbol.asyncDispose]() };
}

poolerTest("groups, and requests with their wake-ups, conform through a pooler in session mode", async () => {
  await using server = await serverThrough("session");
  const { failed, passed } = await conformance(server.url, ["groups", "request-reply"]);
  expect(failed).toBe("");
  expect(passed).toBeGreaterThan(10);
});

poolerTest("groups, and handlers' transactions, conform through a pooler in transaction mode", async () => {
  await using server = await serverThrough("transaction");
  const { failed, passed } = await conformance(server.url, ["groups", "transactions"]);
  expect(failed).toBe("");
  expect(passed).toBeGreaterThanOrEqual(10);
});
