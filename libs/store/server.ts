import { SluiceError } from "@sluice/kernel";
import type { Pool } from "./pool.ts";
import probe from "./sql/server-probe.sql" with { type: "text" };

/** The oldest Postgres that has what Sluice needs, as `server_version_num`. */
const oldestVersion = 150_000;

/**
 * Refuses a server that Sluice cannot work with, before anything is written: older than Postgres 15
 * (DATABASE_TOO_OLD), or a standby that cannot be written to (DATABASE_RESOURCES).
 */
export async function checkServer(pool: Pool): Promise<void> {
  const [row] = await pool.query<{ version: number; version_text: string; standby: boolean }>("connecting", probe);
  if (row === undefined) throw new SluiceError("INTERNAL", "connecting: the server did not tell its version");
  if (row.version < oldestVersion) {
    throw new SluiceError(
      "DATABASE_TOO_OLD",
      `this server is Postgres ${row.version_text}; Sluice needs 15 or newer. Nothing was written.`,
    );
  }
  if (row.standby) {
    throw new SluiceError(
      "DATABASE_RESOURCES",
      "this server is a standby and cannot be written to; connect to the primary. Nothing was written.",
    );
  }
}
