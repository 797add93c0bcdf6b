import { statfsSync } from "node:fs";
import { SluiceError } from "@sluice/kernel";

const fullBelowBytes = 32 * 1024 * 1024;

/** The EMBEDDED_FAILED error: one sentence that says what is wrong and, where there is one, what to do. */
export function embeddedError(reason: string, cause?: unknown): SluiceError {
  return new SluiceError("EMBEDDED_FAILED", `The embedded Postgres cannot be used: ${reason}`, { cause });
}

/** EMBEDDED_FAILED for something that the file system refused, told in the words of its code. */
export function folderError(folder: string, error: unknown): SluiceError {
  if (error instanceof SluiceError) return error;
  switch (errorCode(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return embeddedError(`the disk that holds ${folder} is full.`, error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return embeddedError(
        `the folder ${folder} is not writable for this user. Choose another with SLUICE_DATA or dataDirectory.`,
        error,
      );
    case "ENOTDIR":
    case "EEXIST":
      return embeddedError(`${folder} is not a folder, or lies below something that is none.`, error);
    default:
      return embeddedError(`the folder ${folder} could not be prepared (${errorCode(error) ?? "unknown"}).`, error);
  }
}

/** EMBEDDED_FAILED for a program of Postgres that ended badly. A full disk, the usual reason, is looked up. */
export function programError(program: string, exitCode: number | null, output: string, folder: string): SluiceError {
  const cause = new Error(output.trim() === "" ? `${program} printed nothing` : output.trim());
  if (freeBytes(folder) < fullBelowBytes) return embeddedError(`the disk that holds ${folder} is full.`, cause);
  const fatal = output.split("\n").find((line) => /\b(FATAL|PANIC|error|ERROR):/.test(line));
  const said = fatal === undefined ? "" : ` It said: ${fatal.trim()}`;
  return embeddedError(`${program} ended with code ${exitCode ?? "unknown"}.${said}`, cause);
}

function freeBytes(folder: string): number {
  const status = statfsSync(folder);
  return status.bavail * status.bsize;
}

/** The code of an error of the platform (`ENOENT`); undefined for everything else. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
