import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { errorCode } from "./embedded-failure.ts";

/** Whether a process with this number exists, whoever owns it. One that has ended but was not reaped does not count. */
export function isAlive(processId: number): boolean {
  try {
    process.kill(processId, 0);
  } catch (error) {
    if (errorCode(error) !== "EPERM") return false;
  }
  return statusFields(processId)?.[0] !== "Z";
}

/** When the process started, in a spelling that differs between two processes of the same number. */
export function processStart(processId: number): string | undefined {
  if (process.platform === "linux") return statusFields(processId)?.[19];
  return askPs(processId, "lstart=");
}

/** The command line of the process; empty if it has ended. */
export function commandLine(processId: number): string {
  if (process.platform !== "linux") return askPs(processId, "command=") ?? "";
  return readProc(processId, "cmdline")?.replaceAll("\0", " ") ?? "";
}

/** The fields after the program's name (which may hold spaces and parentheses) in /proc/PID/stat. */
function statusFields(processId: number): string[] | undefined {
  if (process.platform !== "linux") return undefined;
  const text = readProc(processId, "stat");
  return text?.slice(text.lastIndexOf(")") + 2).split(" ");
}

function readProc(processId: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${processId}/${name}`, "utf8");
  } catch (error) {
    // ESRCH: it ended between opening and reading.
    if (["ENOENT", "ESRCH"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

function askPs(processId: number, field: string): string | undefined {
  try {
    return execFileSync("ps", ["-o", field, "-p", String(processId)], { encoding: "utf8" }).trim();
  } catch (error) {
    // ps answers with exit code 1 when there is no such process.
    if (typeof error === "object" && error !== null && "status" in error && error.status === 1) return undefined;
    throw error;
  }
}
