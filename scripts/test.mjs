// npm test [-- PATTERN …]: everything that must hold, one step after the other, and the sum in the last line.
// With patterns only the test files of Bun whose path contains one of them are run.
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { ensureInstalled, findBun, findDeno, onStopSignal, Refusal, root, run } from "./toolchain.mjs";

const patterns = process.argv.slice(2);
const results = [];
const failures = [];
const running = new Set();
let interrupted = false;

await run(async () => {
  ensureInstalled();
  const tools = { bun: findBun(), deno: findDeno() };
  const temporary = mkdtempSync(join(tmpdir(), "sluice-test-"));
  // Run by root, the server belongs to another user, who must be able to get in.
  if (process.getuid?.() === 0) chmodSync(temporary, 0o755);
  onStopSignal((signal) => {
    interrupted = true;
    console.error(`\n${signal}: stopping`);
    for (const child of running) endGroup(child);
  });
  const before = dataOfRoot();
  try {
    await runSteps(tools, temporary);
    await checkLeftovers(before);
  } finally {
    rmSync(temporary, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
  return summarize();
});

async function runSteps(tools, temporary) {
  const environment = environmentFor(tools, temporary);
  const node = process.execPath;
  const server = await startServer(tools, environment, join(temporary, "postgres"));
  try {
    const bunTest = [tools.bun, "test", "--parallel", "--timeout=60000"];
    const withServer = { ...environment, SLUICE_TEST_SERVER: server.url };
    if (patterns.length > 0) {
      await runTests("bun test", [...bunTest, ...patterns], withServer, temporary);
      return;
    }
    await runCheck("types", [node, join("node_modules", "typescript", "bin", "tsc"), "--noEmit"], environment);
    await runCheck(
      "style",
      [node, join("node_modules", "@biomejs", "biome", "bin", "biome"), "check", "."],
      environment,
    );
    await runTests("bun test", [...bunTest, "./libs", "./apps", "./tests"], withServer, temporary);
    // These wait for more than they work: three files at a time keep two cores busy.
    const conformance = { ...withServer, DENO_JOBS: "3" };
    const denoTest = [tools.deno, "test", "--parallel", "--allow-all", "--no-check", "--no-lock", "--no-remote"];
    await runTests("conformance under Deno", [...denoTest, "tests/conformance"], conformance, temporary);
    const threeAtATime = bunTest.map((word) => (word === "--parallel" ? "--parallel=3" : word));
    await runOnOtherPostgres(tools, environment, [...threeAtATime, "./tests/conformance"], temporary);
  } finally {
    await server.stop();
  }
}

/**
 * Where root's embedded servers keep their data when the folder they were given is closed to the user they run as. Whoever
 * deletes that folder afterwards does not delete these, and half a gigabyte a run fills a disk before anybody looks.
 */
function dataOfRoot() {
  const folder = "/var/lib/sluice";
  return existsSync(folder) ? readdirSync(folder) : [];
}

async function checkLeftovers(before) {
  if (interrupted || process.getuid?.() !== 0) return;
  announce("nothing left behind");
  const left = () => dataOfRoot().filter((name) => !before.includes(name));
  // Another run beside this one may have some for a moment.
  for (let seconds = 0; left().length > 0 && seconds < 10; seconds++) await wait(1000);
  if (left().length > 0) console.error(`these were left in /var/lib/sluice: ${left().join(", ")}`);
  record("nothing left behind", { passed: left().length > 0 ? 0 : 1, failed: left().length > 0 ? 1 : 0, skipped: 0 });
}

async function runOnOtherPostgres(tools, environment, command, temporary) {
  if (interrupted) return;
  const name = "conformance on another Postgres";
  const binaries = otherPostgres();
  if (binaries === undefined) {
    skip(name, "no other Postgres: neither SLUICE_TEST_POSTGRES nor /usr/lib/postgresql/*/bin");
    return;
  }
  const server = await startServer(tools, environment, join(temporary, "other-postgres"), binaries);
  try {
    await runTests(`${name} (${binaries})`, command, { ...environment, SLUICE_TEST_SERVER: server.url }, temporary);
  } finally {
    await server.stop();
  }
}

/** The bin folder of the oldest supported Postgres that is installed: the one that differs most from ours. */
function otherPostgres() {
  if (process.env.SLUICE_TEST_POSTGRES) return process.env.SLUICE_TEST_POSTGRES;
  const installed = "/usr/lib/postgresql";
  if (!existsSync(installed)) return undefined;
  const versions = readdirSync(installed).map(Number);
  const folders = versions
    .filter((version) => version >= 15)
    .sort((left, right) => left - right)
    .map((version) => join(installed, String(version), "bin"));
  return folders.find((folder) => existsSync(join(folder, "initdb")));
}

function environmentFor(tools, temporary) {
  const bin = join(temporary, "bin");
  mkdirSync(bin);
  // What an interrupted test leaves behind goes with our own folder.
  const scratch = join(temporary, "tmp");
  mkdirSync(scratch);
  if (process.getuid?.() === 0) chmodSync(scratch, 0o755);
  for (const [name, path] of Object.entries(tools)) symlinkSync(path, join(bin, name));
  return {
    ...process.env,
    // First our own links: those in node_modules/.bin lead nowhere when install scripts did not run.
    PATH: [bin, join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter),
    TMPDIR: scratch,
    DENO_DIR: join(temporary, "deno"),
    DENO_NO_UPDATE_CHECK: "1",
    // The suite chooses its servers itself.
    DATABASE_URL: "",
    SLUICE_DATA: "",
  };
}

/** Starts a child in a group of its own. A signal to this process ends it, unless it is the server, which is stopped. */
function start(command, environment, stdio) {
  const [file, ...parameters] = command;
  const child = spawn(file, parameters, { cwd: root, env: environment, stdio, detached: true });
  if (stdio === "inherit") running.add(child);
  const ended = new Promise((resolve) => {
    child.once("error", (error) => {
      console.error(`${file} could not be run: ${error.message}`);
      resolve(127);
    });
    child.once("close", (code) => resolve(code ?? 1));
  }).finally(() => running.delete(child));
  return { child, ended };
}

/** Ends a child and what it has started: politely, and after five seconds by force. */
function endGroup(child) {
  const signal = (name) => {
    try {
      process.kill(-child.pid, name);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  };
  signal("SIGTERM");
  setTimeout(() => {
    if (running.has(child)) signal("SIGKILL");
  }, 5000).unref();
}

async function startServer(tools, environment, folder, binaries) {
  const command = [tools.bun, join("scripts", "test-server.ts"), folder, ...(binaries === undefined ? [] : [binaries])];
  const { child, ended } = start(command, environment, ["pipe", "pipe", "inherit"]);
  const url = await Promise.race([
    new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve)),
    ended.then(() => undefined),
  ]);
  if (url === undefined) throw new Refusal("The server for the tests could not be started.");
  return {
    url,
    async stop() {
      child.stdin.on("error", () => undefined);
      child.stdin.end();
      await ended;
    },
  };
}

async function runCheck(name, command, environment) {
  if (interrupted) return;
  announce(name);
  const code = await start(command, environment, "inherit").ended;
  record(name, code === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 });
}

async function runTests(name, command, environment, temporary) {
  if (interrupted) return;
  announce(name);
  const report = join(temporary, `report-${results.length}.xml`);
  const reporter =
    command[1] === "test" && command.includes("--allow-all")
      ? [`--junit-path=${report}`]
      : ["--reporter=junit", `--reporter-outfile=${report}`];
  const [file, verb, ...rest] = command;
  const code = await start([file, verb, ...reporter, ...rest], environment, "inherit").ended;
  const counts = existsSync(report)
    ? countsOf(readFileSync(report, "utf8"), name)
    : { passed: 0, failed: 0, skipped: 0 };
  if (counts.passed + counts.failed === 0) {
    console.error(`${name}: not one test was run, which counts as a failure`);
    counts.failed = 1;
  } else if (code !== 0 && counts.failed === 0) {
    // An error outside of any test, such as a file that does not load.
    console.error(`${name}: the runner ended with code ${code} although no test failed`);
    counts.failed = 1;
  }
  record(name, counts);
}

/** Counts the test cases of a JUnit report, and keeps what is to be said of those that failed. */
function countsOf(xml, name) {
  let [passed, failed, skipped] = [0, 0, 0];
  for (const [, opening, , body = ""] of xml.matchAll(
    /<testcase\b((?:[^>"]|"[^"]*")*?)(\/>|>([\s\S]*?)<\/testcase>)/g,
  )) {
    if (/<(failure|error)\b/.test(body)) {
      failed++;
      failures.push(describeFailure(name, opening, body));
    } else if (/<skipped\b/.test(body)) skipped++;
    else passed++;
  }
  return { passed, failed, skipped };
}

/** Where it failed and with what, in a few lines: whoever sees only the end of a run is to know what to look for. */
function describeFailure(name, opening, body) {
  const attribute = (text, wanted) => decoded(text.match(new RegExp(`\\b${wanted}="([^"]*)"`))?.[1] ?? "");
  const text = decoded(body.match(/<(?:failure|error)\b[^>]*>([\s\S]*?)<\//)?.[1] ?? "");
  const lines = (text.trim() || attribute(body, "message")).split("\n").filter((line) => line.trim() !== "");
  const shown = lines.slice(0, 8).map((line) => `    ${line.slice(0, 200)}`);
  const where = attribute(opening, "file") || attribute(opening, "classname");
  return [`${name}: ${where}: ${attribute(opening, "name")}`, ...shown].join("\n");
}

function decoded(xml) {
  const named = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return xml.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hexadecimal, word) => {
    if (word !== undefined) return named[word] ?? whole;
    return String.fromCodePoint(decimal === undefined ? Number.parseInt(hexadecimal, 16) : Number(decimal));
  });
}

function announce(name) {
  console.log(`\n=== ${name}`);
}

function skip(name, reason) {
  announce(name);
  console.log(`skipped: ${reason}`);
  record(name, { passed: 0, failed: 0, skipped: 1 });
}

function record(name, counts) {
  results.push({ name, ...counts });
}

function summarize() {
  if (failures.length > 0) {
    console.log(`\n=== what failed${failures.length > 20 ? `, the first 20 of ${failures.length}` : ""}`);
    for (const failure of failures.slice(0, 20)) console.log(failure);
  }
  console.log("\n=== summary");
  const sum = { passed: 0, failed: interrupted ? 1 : 0, skipped: 0 };
  for (const result of results) {
    console.log(`${result.failed > 0 ? "FAILED" : "ok    "}  ${result.name}: ${inWords(result)}`);
    for (const key of Object.keys(sum)) sum[key] += result[key];
  }
  if (interrupted) console.log("FAILED  interrupted before the end");
  console.log(inWords(sum));
  return interrupted ? 130 : sum.failed > 0 ? 1 : 0;
}

function inWords({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
