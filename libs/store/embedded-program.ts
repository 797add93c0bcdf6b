import { spawn } from "node:child_process";
import type { Account } from "./embedded-account.ts";

/** What a program that ran to its end left. `exitCode` is null when a signal ended it. */
export interface ProgramResult {
  readonly exitCode: number | null;
  /** Standard output and standard error, in the order they arrived. */
  readonly output: string;
}

/** Where and as whom a program of Postgres runs. */
export interface ProgramOptions {
  readonly account: Account | undefined;
  readonly folder: string;
  readonly input?: string;
}

/** Runs a program of Postgres to its end. Rejects only when it cannot be run at all. */
export function runProgram(
  file: string,
  parameters: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...parameters], {
      cwd: options.folder,
      env: programEnvironment(),
      stdio: ["pipe", "pipe", "pipe"],
      ...asAccount(options.account),
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text: string) => {
        output += text;
      });
    }
    child.once("error", reject);
    child.once("close", (exitCode) => resolve({ exitCode, output }));
    // A program that ended before it read its input reports itself by its exit code.
    child.stdin.on("error", (error) => {
      output += `${error.message}\n`;
    });
    child.stdin.end(options.input ?? "");
  });
}

/** The part of spawn's options that makes the child run as the account. */
export function asAccount(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.userId, gid: account.groupId };
}

/** A small environment: PGDATA, PGOPTIONS, LC_ALL and the like of the caller must not bend the server. */
export function programEnvironment(): Record<string, string> {
  const inherited: Record<string, string> = {};
  for (const name of ["PATH", "TMPDIR", "HOME"]) {
    const value = process.env[name];
    if (value !== undefined) inherited[name] = value;
  }
  return { PATH: "/usr/local/bin:/usr/bin:/bin", ...inherited, LC_ALL: "C", TZ: "UTC" };
}
