import { SluiceError } from "@sluice/kernel";
import { connectClient } from "./client.ts";
import { explain } from "./pool.ts";
import { findPooling } from "./pooling.ts";

/** How a process reaches its database. */
export interface Route {
  /** Where statements and transactions go. */
  readonly url: string;
  /** Whether each transaction there may have another server process: then nothing of a session lasts, no prepared statement, lock or LISTEN. */
  readonly isPooled: boolean;
  /** Whether nothing stands between it and the server. */
  readonly isDirect: boolean;
  /** Where a session is had; undefined where there is none: members live by their lease row then. */
  readonly sessionUrl: string | undefined;
}

/** Where to connect. */
export interface RouteOptions {
  readonly url: string;
  /** A way past the pooler of `url`, for what needs a session. Default: none is known. */
  readonly sessionUrl?: string | undefined;
  readonly applicationName: string;
}

/**
 * Looks how the database is reached.
 *
 * Fails with DATABASE_POOLED where a pooler gives each statement another process, where `sessionUrl` gives no session either, and
 * where it leads to another database; else as any call to the database does. Nothing was written then.
 */
export async function findRoute({ url, sessionUrl, applicationName }: RouteOptions): Promise<Route> {
  const pooling = await findPooling(url, applicationName);
  if (pooling === "statement") {
    throw new SluiceError(
      "DATABASE_POOLED",
      "the database is behind a pooler that gives each statement another backend (pool_mode = statement), where transactions are impossible; Sluice writes in transactions. Nothing was written. Set pool_mode to session or transaction, or connect past the pooler.",
    );
  }
  const isDirect = pooling === "none";
  if (sessionUrl === undefined) {
    const isPooled = pooling === "transaction";
    return { url, isPooled, isDirect, sessionUrl: isPooled ? undefined : url };
  }
  const sessions = await findPooling(sessionUrl, applicationName);
  if (sessions === "statement" || sessions === "transaction") {
    throw new SluiceError(
      "DATABASE_POOLED",
      `sessionUrl leads to a pooler, too, which gives each ${sessions} another backend: locks and LISTEN do not last there. Nothing was written. Give it the URL of the server itself, or of a pool in session mode, or leave it out: members then live by their lease.`,
    );
  }
  const [one, other] = await Promise.all([identityOf(url, applicationName), identityOf(sessionUrl, applicationName)]);
  if (one !== other) {
    throw new SluiceError(
      "DATABASE_POOLED",
      "sessionUrl leads to another database than url. Nothing was written. Both must lead to the same database of the same server.",
    );
  }
  return { url, isPooled: pooling === "transaction", isDirect, sessionUrl };
}

/** What no two databases that run at present have in common. */
async function identityOf(url: string, applicationName: string): Promise<string | undefined> {
  const sql = connectClient(url, { max: 1, prepare: false, connection: { application_name: applicationName } });
  try {
    const rows = await sql.unsafe<{ identity: string }[]>(
      "select concat_ws(' ', pg_postmaster_start_time()::timestamptz(6), oid) as identity from pg_database where datname = current_database()",
    );
    return rows[0]?.identity;
  } catch (error) {
    throw explain("connecting", error);
  } finally {
    await sql.end({ timeout: 0 });
  }
}
