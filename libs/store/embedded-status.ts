import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCode } from "./embedded-failure.ts";
import type { Folder } from "./embedded-folder.ts";
import { makeOwn } from "./embedded-folder.ts";
import { commandLine, isAlive } from "./embedded-process.ts";

/** What a server says about itself in its postmaster.pid. */
export interface ServerStatus {
  readonly processId: number;
  readonly port: number;
  /** `starting` includes crash recovery. */
  readonly state: "starting" | "ready" | "stopping";
}

/** The server that runs over the folder's cluster; undefined if none does, whatever postmaster.pid says. */
export function runningServer(folder: Folder): ServerStatus | undefined {
  const lines = readLines(folder);
  const processId = Number(lines?.[0]);
  if (lines === undefined || !Number.isInteger(processId) || processId <= 0) return undefined;
  if (!isServer(processId, folder)) return undefined;
  const state = lines[7]?.trim();
  return {
    processId,
    port: Number(lines[3]),
    state: state === "ready" || state === "stopping" ? state : state === "standby" ? "ready" : "starting",
  };
}

/** The number of a dead server's process may belong to another process by now: its command line tells. */
function isServer(processId: number, folder: Folder): boolean {
  return isAlive(processId) && commandLine(processId).includes(folder.cluster);
}

/** Larger than any process number that a system hands out. */
const nobodysProcessId = 2_147_483_647;

/**
 * Makes Postgres see that the server of a left-over postmaster.pid is dead although its process number is in use.
 * Whether there was a left-over file. Only to be called by the holder of the folder's lock.
 *
 * The file is not deleted: by its last lines Postgres finds out whether children of the dead server still live.
 */
export function disarmStaleStatus(folder: Folder): boolean {
  const lines = readLines(folder);
  if (lines === undefined) return false;
  const path = statusFile(folder);
  const processId = Number(lines[0]);
  if (isTaken(processId) && !isServer(processId, folder)) {
    const draft = `${path}.draft`;
    writeFileSync(draft, [String(nobodysProcessId), ...lines.slice(1)].join("\n"), { mode: 0o600 });
    makeOwn(draft, folder.account, 0o600);
    renameSync(draft, path);
  }
  return true;
}

/** As Postgres asks: an ended process that was not reaped counts. */
function isTaken(processId: number): boolean {
  if (!Number.isInteger(processId) || processId <= 0) return false;
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

function statusFile(folder: Folder): string {
  return join(folder.cluster, "postmaster.pid");
}

function readLines(folder: Folder): string[] | undefined {
  try {
    return readFileSync(statusFile(folder), "utf8").split("\n");
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}
