import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCode, folderError } from "./embedded-failure.ts";
import type { Folder } from "./embedded-folder.ts";
import { isAlive, processStart } from "./embedded-process.ts";

/** Held by the one process that may make a cluster or start a server in the folder. */
export interface FolderLock {
  release(): void;
}

/**
 * Takes the folder's lock if nobody alive holds it; undefined if somebody does.
 *
 * It keeps processes that start at once from doing the same work. Two servers over one cluster are ruled out
 * by Postgres itself, so a lock that was broken wrongly costs work, not data.
 */
export function takeLock(folder: Folder): FolderLock | undefined {
  const path = join(folder.path, "lock");
  const mine = `${process.pid} ${processStart(process.pid) ?? "unknown"}`;
  const draft = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}`;
  try {
    writeFileSync(draft, mine, { mode: 0o644 });
    try {
      if (!linkTo(draft, path)) {
        removeStale(path, draft);
        if (!linkTo(draft, path)) return undefined;
      }
    } finally {
      rmSync(draft, { force: true });
    }
  } catch (error) {
    throw folderError(folder.path, error);
  }
  return {
    release() {
      if (readIfThere(path) === mine) rmSync(path, { force: true });
    },
  };
}

/** Links rather than writes: the lock appears with its whole content or not at all. */
function linkTo(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

function removeStale(path: string, draft: string): void {
  const holder = readIfThere(path);
  if (holder === undefined || isHeld(holder)) return;
  const grabbed = `${draft}.stale`;
  try {
    renameSync(path, grabbed);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  // Between reading and renaming, somebody else may have removed the stale one and taken the lock.
  if (readIfThere(grabbed) !== holder) linkTo(grabbed, path);
  rmSync(grabbed, { force: true });
}

function isHeld(holder: string): boolean {
  const [pid, ...start] = holder.split(" ");
  const processId = Number(pid);
  if (!Number.isInteger(processId) || processId <= 0 || !isAlive(processId)) return false;
  return (processStart(processId) ?? "unknown") === start.join(" ");
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
