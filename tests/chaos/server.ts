import { spawn, spawnSync } from "node:child_process";
import { chownSync, closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { type EmbeddedServer, startEmbedded } from "sluice/embedded";

const settings = {
  max_connections: "150",
  deadlock_timeout: "100ms",
  // So that recovery after an immediate stop has something to do, and does not take long.
  checkpoint_timeout: "1min",
};

/** A Postgres of its own that can be stopped at once, started again, and run out of disk. */
export class ChaosServer {
  readonly #folder: string;
  #server: EmbeddedServer;
  #cluster = "";
  /** Where a small file system is mounted for one topic's tables; `undefined` where that is not possible. */
  readonly smallDisk: string | undefined;
  /** Why there is no small disk. */
  readonly whyNoSmallDisk: string | undefined;
  readonly #unmount: (() => Promise<void>) | undefined;

  private constructor(folder: string, server: EmbeddedServer, disk: SmallDisk | { why: string }) {
    this.#folder = folder;
    this.#server = server;
    this.smallDisk = "path" in disk ? disk.path : undefined;
    this.whyNoSmallDisk = "why" in disk ? disk.why : undefined;
    this.#unmount = "path" in disk ? disk.unmount : undefined;
  }

  static async start(folder: string): Promise<ChaosServer> {
    const dataDirectory = join(folder, "postgres");
    const server = await startEmbedded({ dataDirectory, settings });
    const made = new ChaosServer(folder, server, mountSmallDisk(join(folder, "disk"), server.dataDirectory));
    const sql = postgres(server.url, { max: 1 });
    const [row] = await sql<{ path: string }[]>`select current_setting('data_directory') as path`;
    made.#cluster = row?.path ?? "";
    if (made.smallDisk !== undefined) await sql.unsafe(`create tablespace small location '${made.smallDisk}'`);
    await sql.end();
    return made;
  }

  get url(): string {
    return this.#server.url;
  }

  /** Ends the server as a crash does, and starts it again: it recovers from what is on disk. */
  async restart(): Promise<void> {
    const pid = Number(readFileSync(join(this.#cluster, "postmaster.pid"), "utf8").split("\n")[0]);
    const port = Number(new URL(this.url).port);
    process.kill(pid, "SIGQUIT");
    while (isAlive(pid)) await wait(20);
    this.#server = await startEmbedded({ dataDirectory: join(this.#folder, "postgres"), settings, port });
  }

  /** Fills the small disk to the last byte for so long. */
  async fillDisk(forMs: number): Promise<void> {
    if (this.smallDisk === undefined) return;
    const ballast = join(this.smallDisk, "..", "ballast");
    const file = openSync(ballast, "w");
    try {
      for (let size = 1 << 20; size >= 1 << 12; size >>= 1) {
        const piece = new Uint8Array(size);
        try {
          while (writeSync(file, piece) === size);
        } catch (error) {
          if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
        }
      }
      await wait(forMs);
    } finally {
      closeSync(file);
      rmSync(ballast);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
    await this.#unmount?.();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // It has ended: there is nobody to signal.
    return false;
  }
}

interface SmallDisk {
  readonly path: string;
  unmount(): Promise<void>;
}

function mountSmallDisk(at: string, dataDirectory: string): SmallDisk | { why: string } {
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    return { why: "mounting a small disk takes root on Linux" };
  mkdirSync(at, { recursive: true });
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=96m,mode=755", "none", at], { encoding: "utf8" });
  if (mounted.status !== 0) return { why: `a small disk cannot be mounted: ${mounted.stderr.trim()}` };
  // Unmounts when it is told to, and also when this process ends without a word: then its standard input closes.
  const keeper = spawn("/bin/sh", ["-c", 'trap "" INT TERM HUP; cat >/dev/null; umount -l "$0"', at], {
    stdio: ["pipe", "ignore", "inherit"],
    detached: true,
  });
  const ended = new Promise<void>((resolve) => keeper.once("exit", () => resolve()));
  const unmount = async () => {
    keeper.stdin?.end();
    await ended;
  };
  const path = join(at, "tables");
  mkdirSync(path);
  const owner = statSync(join(dataDirectory));
  chownSync(path, owner.uid, owner.gid);
  return { path, unmount };
}
