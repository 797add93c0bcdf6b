import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The folder of the project. */
export const root = join(import.meta.dirname, "..", "..");

/**
 * Every file that belongs to the project, from its folder: what git has, and what is new and not ignored. Without git, as
 * in an unpacked archive, it fails rather than find nothing.
 */
export function projectFiles(): string[] {
  const listed = spawnSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 * 1_048_576,
  });
  if (listed.status !== 0) throw new Error(`git does not list the project's files: ${listed.stderr}`);
  return [...new Set(listed.stdout.split("\0"))].filter((path) => path !== "" && existsSync(join(root, path))).sort();
}
