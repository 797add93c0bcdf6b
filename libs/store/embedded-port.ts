import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { embeddedError, errorCode } from "./embedded-failure.ts";
import { type Folder, makeOwn } from "./embedded-folder.ts";

/**
 * The port to start on: the one asked for, else the one of the last time if it is free, else a free one.
 *
 * @throws EMBEDDED_FAILED when the port that was asked for is taken
 */
export async function choosePort(folder: Folder, requested: number | undefined): Promise<number> {
  if (requested !== undefined) {
    if ((await listenOnce(requested)) === undefined) throw portTaken(requested);
    return requested;
  }
  const remembered = rememberedPort(folder);
  if (remembered !== undefined && (await listenOnce(remembered)) !== undefined) return remembered;
  const free = await listenOnce(0);
  if (free === undefined) throw embeddedError("no port is free on 127.0.0.1.");
  return free;
}

/** Whether somebody listens on the port. */
export async function isPortTaken(port: number): Promise<boolean> {
  return (await listenOnce(port)) === undefined;
}

/** EMBEDDED_FAILED for a port that was asked for and is taken. */
export function portTaken(port: number): Error {
  return embeddedError(`port ${port} on 127.0.0.1 is taken by another program, or not allowed for this user.`);
}

/** Keeps the port, so that the URL stays the same over restarts. */
export function rememberPort(folder: Folder, port: number): void {
  const path = join(folder.path, "port");
  writeFileSync(path, `${port}\n`);
  makeOwn(path, folder.account, 0o644);
}

function rememberedPort(folder: Folder): number | undefined {
  try {
    const port = Number(readFileSync(join(folder.path, "port"), "utf8"));
    return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** The port listened on for a moment; undefined if it is taken or forbidden. */
function listenOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      if (["EADDRINUSE", "EACCES"].includes(errorCode(error) ?? "")) resolve(undefined);
      else reject(error);
    });
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const address = server.address();
      const taken = typeof address === "object" && address !== null ? address.port : undefined;
      server.close(() => resolve(taken));
    });
  });
}
