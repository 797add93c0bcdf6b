import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";
import { eventually } from "../testing.ts";
import { keepPostgres } from "./kept-postgres.ts";

test("a Postgres that is killed runs again, at its address and with what was committed; one that is stopped does not", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-kept-"));
  // As root, Postgres runs as somebody else.
  chmodSync(folder, 0o755);
  const lines: string[] = [];
  const server = await keepPostgres({ dataDirectory: join(folder, "data"), onLog: (line) => lines.push(line) });
  const ask = async (text: string) => {
    await using sql = new SQL(server.url, { max: 1 });
    return await sql.unsafe(text);
  };
  const processId = () =>
    Number(readFileSync(join(server.dataDirectory, "cluster", "data", "postmaster.pid"), "utf8").split("\n")[0]);
  try {
    await ask("create table kept as select 42 as answer");
    process.kill(processId(), "SIGKILL");
    await eventually("it runs again", () => lines.includes("Postgres runs again"));
    expect((await ask("select answer from kept"))[0]).toEqual({ answer: 42 });
  } finally {
    await server.stop();
  }
  await expect(ask("select 1")).rejects.toThrow();
  expect(lines.filter((line) => line.includes("ended by itself"))).toHaveLength(1);
  rmSync(folder, { recursive: true });
}, 60_000);
