import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { eventually } from "../testing.ts";
import { keepProcesses } from "./kept-processes.ts";

/** A program that answers with its number, says its address with its number in it, and ends with its standard input or on SIGTERM. */
const program = `const { port } = Bun.serve({ port: process.env.PORT, hostname: process.env.HOST, fetch: () => new Response(process.pid) });
console.log("  helper          http://127.0.0.1:" + port + "/" + process.pid + "/");
process.stdin.on("end", () => process.exit(0)).resume();`;

/** The program in a folder of its own; for `await using`. */
function helper() {
  const folder = mkdtempSync(join(tmpdir(), "sluice-processes-"));
  writeFileSync(join(folder, "main.js"), program);
  let ends = 0;
  const main = pathToFileURL(join(folder, "main.js"));
  const processes = keepProcesses({
    main,
    name: "helper",
    onEnd: () => {
      ends += 1;
    },
  });
  return {
    processes,
    ends: () => ends,
    async [Symbol.asyncDispose]() {
      await processes.close();
      rmSync(folder, { recursive: true });
    },
  };
}

test("as many run as were asked for; one that was killed is replaced, and after closing there is none", async () => {
  await using own = helper();
  const { processes } = own;
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
  await processes.close();
  expect([processes.ids, processes.count, own.ends()]).toEqual([[], 0, 1]);
}, 30_000);

test("[A8] one that ends unasked is started again, and answers where it did; one that is closed is not", async () => {
  await using own = helper();
  const { processes } = own;
  await processes.set(1);
  const { origin } = new URL(processes.url);
  const number = async () =>
    await fetch(origin).then(
      (answer) => answer.text(),
      () => "nobody",
    );
  const first = await number();
  expect(processes.ids).toEqual([Number(first)]);
  processes.kill();
  await eventually("another process answers there", async () => !["nobody", first].includes(await number()));
  await processes.close();
  expect([await number(), own.ends()]).toEqual(["nobody", 1]);
}, 30_000);

test("one that does not start is told of", async () => {
  const main = pathToFileURL(join(tmpdir(), "sluice-there-is-no-such-program.ts"));
  const processes = keepProcesses({ main, name: "helper", onEnd: () => undefined });
  const failure = await processes.set(1).catch((error: unknown) => String(error));
  await processes.close();
  expect(failure).toContain("helper did not start (it ended with 1)");
});
