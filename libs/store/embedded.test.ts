import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { temporaryFolder } from "@sluice/testkit";
import postgres from "postgres";
import { type EmbeddedServer, startEmbedded } from "./embedded.ts";
import { isAlive } from "./embedded-process.ts";

setDefaultTimeout(60_000);

const isRoot = process.getuid?.() === 0;
const temporary = temporaryFolder("embedded server");
const home = temporary.path;
afterAll(() => temporary[Symbol.dispose]());

let folders = 0;
const newFolder = () => join(home, `data ${++folders}`);

async function query<Row extends object>(url: string, statement: string): Promise<Row[]> {
  const sql = postgres(url, { max: 1, connect_timeout: 5 });
  try {
    return [...(await sql.unsafe<Row[]>(statement))];
  } finally {
    await sql.end({ timeout: 1 });
  }
}

const write = (url: string) => query(url, "create table kept (value integer); insert into kept values (42)");
const read = async (url: string) => (await query<{ value: number }>(url, "select value from kept"))[0]?.value;
const serverProcess = (server: { dataDirectory: string }) =>
  Number(readFileSync(join(server.dataDirectory, "cluster", "data", "postmaster.pid"), "utf8").split("\n")[0]);

/** There is no event for the end of a process that is not one's child. */
async function untilGone(processId: number): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (isAlive(processId)) {
    if (performance.now() > deadline) throw new Error(`process ${processId} is still there`);
    await wait(10);
  }
}

interface Fixture extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly url: string;
  readonly started: boolean;
  /** Closes its standard input and waits for its orderly end. */
  leave(): Promise<void>;
}

async function fixture(folder: string): Promise<Fixture> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "embedded-fixture.ts"), folder], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const ended = once(child, "exit");
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`the fixture ended with code ${code}`)));
  });
  const { url, started } = JSON.parse(line) as { url: string; started: boolean };
  const leave = async () => {
    child.stdin.end();
    await ended;
  };
  return { child, url, started, leave, [Symbol.asyncDispose]: leave };
}

async function refusalOf(start: Promise<EmbeddedServer>): Promise<string> {
  const outcome = await start.then(
    async (server) => {
      await server.stop();
      return new Error("it started");
    },
    (error: unknown) => error,
  );
  expect(outcome).toMatchObject({ code: "EMBEDDED_FAILED" });
  return String(outcome);
}

test("data, password and port stay over a restart", async () => {
  const dataDirectory = newFolder();
  const first = await startEmbedded({ dataDirectory });
  expect(first.started).toBe(true);
  await write(first.url);
  const processId = serverProcess(first);
  await first.stop();
  expect(isAlive(processId)).toBe(false);

  await using second = await startEmbedded({ dataDirectory });
  expect(second.url).toBe(first.url);
  expect(await read(second.url)).toBe(42);
  expect(statSync(join(second.dataDirectory, "cluster", "password")).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(second.dataDirectory, "logs"))).toEqual(["postgres.1.log", "postgres.log"]);
});

test("it is durable, local, in UTC and sorts alike everywhere", async () => {
  await using server = await startEmbedded({ dataDirectory: newFolder(), settings: { work_mem: "8MB" } });
  const [settings] = await query(
    server.url,
    `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
       current_setting('data_checksums') as data_checksums, current_setting('listen_addresses') as listen_addresses,
       current_setting('timezone') as timezone, current_setting('work_mem') as work_mem,
       current_setting('unix_socket_directories') as sockets, datlocprovider, datlocale, pg_encoding_to_char(encoding) as encoding
     from pg_database where datname = current_database()`,
  );
  expect(settings).toEqual({
    fsync: "on",
    synchronous_commit: "on",
    data_checksums: "on",
    listen_addresses: "127.0.0.1",
    timezone: "UTC",
    work_mem: "8MB",
    sockets: "",
    datlocprovider: "b",
    datlocale: "C.UTF-8",
    encoding: "UTF8",
  });
});

test("another password is refused", async () => {
  await using server = await startEmbedded({ dataDirectory: newFolder() });
  const url = new URL(server.url);
  url.password = "wrong";
  await expect(query(url.href, "select 1")).rejects.toMatchObject({ code: "28P01" });
});

test("a killed server recovers at the next start", async () => {
  const dataDirectory = newFolder();
  const notes: string[] = [];
  const first = await startEmbedded({ dataDirectory, onLog: (line) => notes.push(line) });
  await write(first.url);
  const processId = serverProcess(first);
  process.kill(processId, "SIGKILL");
  await untilGone(processId);

  await using second = await startEmbedded({ dataDirectory });
  expect(second.started).toBe(true);
  expect(await read(second.url)).toBe(42);
  await first.stop();
  expect(notes.join("\n")).toContain("has ended by itself");
});

test("a left-over postmaster.pid whose number belongs to another process does not matter", async () => {
  const dataDirectory = newFolder();
  const first = await startEmbedded({ dataDirectory });
  await write(first.url);
  const processId = serverProcess(first);
  process.kill(processId, "SIGKILL");
  await untilGone(processId);
  await first.stop();

  const owner = statSync(first.dataDirectory);
  // Of the server's own user: Postgres takes processes of other users for dead anyway.
  const stranger = spawn("sleep", ["600"], isRoot ? { uid: owner.uid, gid: owner.gid } : {});
  try {
    const statusFile = join(first.dataDirectory, "cluster", "data", "postmaster.pid");
    writeFileSync(statusFile, readFileSync(statusFile, "utf8").replace(/^\d+/, String(stranger.pid)));
    await using second = await startEmbedded({ dataDirectory });
    expect(second.started).toBe(true);
    expect(await read(second.url)).toBe(42);
    expect(stranger.exitCode).toBeNull();
  } finally {
    stranger.kill("SIGKILL");
  }
});

test("a killed parent leaves no server behind, and no data is lost", async () => {
  const dataDirectory = newFolder();
  const parent = await fixture(dataDirectory);
  await write(parent.url);
  const processId = serverProcess({ dataDirectory });
  parent.child.kill("SIGKILL");
  await untilGone(processId);

  await using server = await startEmbedded({ dataDirectory });
  expect(server.url).toBe(parent.url);
  expect(await read(server.url)).toBe(42);
});

test("a second process joins, and leaves the server running when it stops", async () => {
  const dataDirectory = newFolder();
  await using server = await startEmbedded({ dataDirectory });
  const joined = await fixture(dataDirectory);
  expect(joined).toMatchObject({ started: false, url: server.url });
  await joined.leave();
  await write(server.url);
  expect(await read(server.url)).toBe(42);
});

test("a process that joined keeps the server up when its starter is killed", async () => {
  const dataDirectory = newFolder();
  const starter = await fixture(dataDirectory);
  const joined = await startEmbedded({ dataDirectory });
  expect(joined.started).toBe(false);
  const processId = serverProcess(joined);
  const starterEnded = once(starter.child, "exit");
  starter.child.kill("SIGKILL");
  await starterEnded;
  await write(joined.url);
  expect(await read(joined.url)).toBe(42);
  await joined.stop();
  await untilGone(processId);
});

test("of processes that start at once, one starts and the others join", async () => {
  const dataDirectory = newFolder();
  const all = await Promise.all(Array.from({ length: 6 }, () => fixture(dataDirectory)));
  expect(all.filter((one) => one.started)).toHaveLength(1);
  expect(new Set(all.map((one) => one.url)).size).toBe(1);
  const processId = serverProcess({ dataDirectory });
  for (const one of all) await one.leave();
  await untilGone(processId);
});

test("Ctrl-C in the terminal does not reach the server before the application has drained", async () => {
  const dataDirectory = newFolder();
  await using parent = await fixture(dataDirectory);
  await write(parent.url);
  process.kill(-(parent.child.pid ?? 0), "SIGINT");
  // A server that was told to shut down would refuse this new connection.
  expect(await read(parent.url)).toBe(42);
  const status = readFileSync(join(dataDirectory, "cluster", "data", "postmaster.pid"), "utf8");
  expect(status.split("\n")[7]?.trim()).toBe("ready");
});

test("an interrupted first start is begun anew", async () => {
  const dataDirectory = newFolder();
  const first = await startEmbedded({ dataDirectory });
  await first.stop();
  const unfinished = join(first.dataDirectory, "cluster.unfinished-1");
  mkdirSync(join(unfinished, "data"), { recursive: true });
  writeFileSync(join(unfinished, "data", "PG_VERSION"), "18\n");
  rmSync(join(first.dataDirectory, "cluster"), { recursive: true });
  writeFileSync(join(first.dataDirectory, "lock"), "999999999 1");

  await using second = await startEmbedded({ dataDirectory });
  await write(second.url);
  expect(existsSync(unfinished)).toBe(false);
});

test("data of another major version is refused", async () => {
  const dataDirectory = newFolder();
  const server = await startEmbedded({ dataDirectory });
  await server.stop();
  writeFileSync(join(server.dataDirectory, "cluster", "data", "PG_VERSION"), "17\n");
  expect(await refusalOf(startEmbedded({ dataDirectory }))).toContain(
    "was made by Postgres 17 and this is Postgres 18",
  );
});

test("a port that was asked for and is taken is refused", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  try {
    expect(await refusalOf(startEmbedded({ dataDirectory: newFolder(), port }))).toContain(`port ${port}`);
  } finally {
    other.close();
  }
});

test("a remembered port that is taken is replaced", async () => {
  const dataDirectory = newFolder();
  const first = await startEmbedded({ dataDirectory });
  await first.stop();
  const port = Number(new URL(first.url).port);
  const other = createServer().listen(port, "127.0.0.1");
  await once(other, "listening");
  try {
    await using second = await startEmbedded({ dataDirectory });
    expect(Number(new URL(second.url).port)).not.toBe(port);
    expect(await query(second.url, "select 1 as one")).toEqual([{ one: 1 }]);
  } finally {
    other.close();
  }
});

test("a setting that Postgres refuses is told in Postgres's words, with the log's place", async () => {
  const dataDirectory = newFolder();
  const refusal = await refusalOf(startEmbedded({ dataDirectory, settings: { no_such_setting: "1" } }));
  expect(refusal).toContain("no_such_setting");
  expect(refusal).toContain(join("logs", "postgres.log"));
});

test("a folder that cannot be made or written is refused", async () => {
  const file = join(home, "a file");
  writeFileSync(file, "");
  expect(await refusalOf(startEmbedded({ dataDirectory: join(file, "data") }))).toContain("not a folder");
  if (isRoot) return;
  const closed = newFolder();
  mkdirSync(closed, { mode: 0o555 });
  expect(await refusalOf(startEmbedded({ dataDirectory: closed }))).toContain("not writable");
});

test("the data directory of another Postgres is refused", async () => {
  const dataDirectory = newFolder();
  mkdirSync(dataDirectory);
  writeFileSync(join(dataDirectory, "PG_VERSION"), "18\n");
  expect(await refusalOf(startEmbedded({ dataDirectory }))).toContain("data directory of another Postgres");
});

// Only root runs Postgres as somebody else.
test.skipIf(!isRoot)("an empty folder of root's own becomes that of the user that Postgres runs as", async () => {
  const dataDirectory = newFolder();
  mkdirSync(dataDirectory, { mode: 0o700 });
  await using server = await startEmbedded({ dataDirectory });
  expect(server.dataDirectory).toBe(realpathSync(dataDirectory));
  expect(await query(server.url, "select 1 as one")).toEqual([{ one: 1 }]);
});

// Only root runs Postgres as somebody else, who cannot enter root's closed folders.
test.skipIf(!isRoot)("root's data moves where the unprivileged user can reach it, and says so", async () => {
  const closed = join(home, "closed");
  mkdirSync(closed, { mode: 0o700 });
  const notes: string[] = [];
  const server = await startEmbedded({ dataDirectory: join(closed, "data"), onLog: (line) => notes.push(line) });
  try {
    expect(dirname(server.dataDirectory)).toBe("/var/lib/sluice");
    expect(notes.join("\n")).toContain(server.dataDirectory);
    expect(await query(server.url, "select 1 as one")).toEqual([{ one: 1 }]);
  } finally {
    await server.stop();
    rmSync(server.dataDirectory, { recursive: true });
  }
});
