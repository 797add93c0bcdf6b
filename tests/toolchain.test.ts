import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { temporaryFolder } from "@sluice/testkit";

setDefaultTimeout(60_000);

const project = join(import.meta.dirname, "..");
const temporary = temporaryFolder("tool chain");
const home = temporary.path;
afterAll(() => temporary[Symbol.dispose]());

let copies = 0;

/** A project with our scripts, an app of one file, and node_modules as npm leaves it without install scripts. */
function copyProject(app: string): string {
  const copy = join(home, `project ${++copies}`);
  mkdirSync(join(copy, "apps", "front"), { recursive: true });
  mkdirSync(join(copy, "scripts"));
  for (const name of ["start.mjs", "test.mjs", "toolchain.mjs"]) {
    copyFileSync(join(project, "scripts", name), join(copy, "scripts", name));
  }
  writeFileSync(join(copy, "apps", "front", "main.ts"), app);
  writeFileSync(join(copy, "package-lock.json"), JSON.stringify({ packages: { "": {} } }));
  mkdirSync(join(copy, "node_modules", "bun", "bin"), { recursive: true });
  writeFileSync(join(copy, "node_modules", ".package-lock.json"), JSON.stringify({ packages: {} }));
  const standIn = join(copy, "node_modules", "bun", "bin", "bun.exe");
  writeFileSync(standIn, "a text that stands in for the program\n");
  chmodSync(standIn, 0o755);
  return copy;
}

function addBun(copy: string): void {
  const bin = join(copy, "node_modules", "@oven", "bun-of-this-platform", "bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(process.execPath, join(bin, "bun"));
}

function startIn(copy: string, parameters: readonly string[] = []) {
  const child = spawn("node", [join(copy, "scripts", "start.mjs"), ...parameters], {
    cwd: copy,
    env: { PATH: process.env["PATH"] ?? "", HOME: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (text: Buffer) => {
    errors += text.toString();
  });
  const lines: string[] = [];
  const reader = createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, lines, errors }));
  return { child, reader, ended };
}

test("start runs the app under Bun with its arguments, and exits with its code", async () => {
  const copy = copyProject("console.log(process.versions.bun, process.argv.slice(2).join()); process.exit(7)");
  addBun(copy);
  for (let round = 0; round < 2; round++) {
    const { code, lines } = await startIn(copy, ["--port", "1"]).ended;
    expect(lines).toEqual([`${process.versions.bun} --port,1`]);
    expect(code).toBe(7);
  }
  expect(readdirSync(join(copy, "node_modules"))).toContain(".sluice-installed");
});

test("start hands a signal on once, though terminal and npm both send it, and waits for the end", async () => {
  const copy = copyProject(`
    let signals = 0;
    process.on("SIGINT", () => { console.log("signal", ++signals); setTimeout(() => process.exit(3), 300) });
    console.log("ready");
    process.stdin.on("close", () => process.exit(9)).resume();
    setInterval(() => undefined, 1000);
  `);
  addBun(copy);
  const { child, reader, ended } = startIn(copy);
  await once(reader, "line");
  child.kill("SIGINT");
  // Two at once would be one for the kernel: the second is sent when the first has arrived.
  await once(reader, "line");
  child.kill("SIGINT");
  const { code, lines } = await ended;
  expect(lines).toEqual(["ready", "signal 1"]);
  expect(code).toBe(3);
});

test("start ends when npm is ended, of which only the shell between is told", async () => {
  const copy = copyProject(`
    process.on("SIGTERM", () => { console.log("told"); process.exit(0) });
    console.log("ready");
    process.stdin.on("close", () => process.exit(9)).resume();
    setInterval(() => undefined, 1000);
  `);
  addBun(copy);
  // The shell has something left to do after it, or it would become the program.
  const shell = spawn("sh", ["-c", 'node "$0"; true', join(copy, "scripts", "start.mjs")], {
    cwd: copy,
    env: { PATH: process.env["PATH"] ?? "", HOME: "", npm_lifecycle_event: "start" },
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  const lines: string[] = [];
  const reader = createInterface({ input: shell.stdout }).on("line", (line) => lines.push(line));
  await once(reader, "line");
  // Its output ends when the last one that could write to it has ended.
  const closed = once(reader, "close");
  shell.kill("SIGTERM");
  const isOver = await Promise.race([closed.then(() => true), wait(10_000, false)]);
  if (!isOver) process.kill(-(shell.pid ?? 0), "SIGKILL");
  expect(isOver).toBe(true);
  expect(lines).toEqual(["ready", "told"]);
});

test("without the package of this platform, start says so in one line", async () => {
  const { code, errors } = await startIn(copyProject("")).ended;
  expect(code).toBe(1);
  expect(errors).toMatch(/^Bun does not run here: npm has left out the optional package[^\n]*\n$/);
});
