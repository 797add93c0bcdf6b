import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that goes with who made it. */
export interface TemporaryFolder {
  readonly path: string;
  /** Removes it with all that is in it. */
  [Symbol.dispose](): void;
}

/**
 * A fresh folder, `sluice-<purpose>-…`, in the system's temporary one or in `within`. A server may be started in it, also by root.
 *
 * @example
 * using folder = temporaryFolder("history");
 */
export function temporaryFolder(purpose: string, within = tmpdir()): TemporaryFolder {
  const path = mkdtempSync(join(within, `sluice-${purpose}-`));
  // Run by root, a server belongs to another user, who must be able to get in.
  chmodSync(path, 0o755);
  return {
    path,
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }),
  };
}
