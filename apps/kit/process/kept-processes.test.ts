import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { silentLogger } from "sluice";
import { eventually } from "../testing.ts";
import { keepProcesses } from "./kept-processes.ts";

/** A program that says an address with its number in it, and ends with its standard input or on SIGTERM. */
const program = `console.log("  helper          http://127.0.0.1:1/" + process.pid + "/");
process.stdin.on("end", () => process.exit(0)).resume();`;

test("as many run as were asked for; one that was killed is replaced, and after closing there is none", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-processes-"));
  writeFileSync(join(folder, "main.js"), program);
  const main = pathToFileURL(join(folder, "main.js"));
  const processes = keepProcesses({ main, name: "helper", logger: silentLogger });
  try {
    await processes.set(2);
    const before = processes.ids;
    expect(before).toHaveLength(2);
    const killed = processes.kill() ?? 0;
    expect(before).toContain(killed);
    await eventually("another one answers", () => {
      const [one, other] = processes.ids.filter((id) => id !== killed);
      return other !== undefined && one !== undefined && processes.url.endsWith(`/${other}`);
    });
    await processes.set(1);
    expect(processes.ids).toEqual(before.slice(0, 1));
    await processes.set(1, { OTHER: "1" });
    expect(processes.ids).toHaveLength(1);
    expect(before).not.toContain(processes.ids[0] ?? 0);
  } finally {
    await processes.close();
    rmSync(folder, { recursive: true });
  }
  expect([processes.ids, processes.count]).toEqual([[], 0]);
}, 30_000);

test("one that does not start is told of", async () => {
  const main = pathToFileURL(join(tmpdir(), "sluice-there-is-no-such-program.ts"));
  const processes = keepProcesses({ main, name: "helper", logger: silentLogger });
  const failure = await processes.set(1).catch((error: unknown) => String(error));
  await processes.close();
  expect(failure).toContain("helper did not start (it ended with 1)");
});
