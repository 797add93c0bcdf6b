import { SluiceError } from "@sluice/kernel";
import type postgres from "postgres";
import { toDatabaseError } from "./database-error.ts";
import type { Migration } from "./migration.ts";
import { migrations as shippedMigrations } from "./migrations.ts";
import readLedger from "./sql/migrations-read.sql" with { type: "text" };
import recordMigration from "./sql/migrations-record.sql" with { type: "text" };

/** What a call of {@link migrate} did. */
export interface MigrationReport {
  /** Names of the migrations that this call applied, in order. */
  readonly applied: readonly string[];
  /** The highest number that is applied now, by whomever. */
  readonly version: number;
}

/** Which migrations there are, and who is told about them. */
export interface MigrateOptions {
  /** Default: those that ship with Sluice. */
  readonly migrations?: readonly Migration[];
  /** Called after the commit of each migration. */
  readonly onApply?: (name: string) => void;
}

interface AppliedMigration {
  readonly number: number;
  readonly name: string;
  readonly hash: string;
  readonly breaking: boolean;
}

/** The key of the advisory lock that migrating holds: "sluice" in ASCII. */
const lockKey = "126909663503205";
const lockTimeoutMs = 120_000;

/**
 * Brings the schema up to date: each missing migration in a transaction of its own, together with its row in
 * `sluice.migrations`. A failed one is rolled back whole; those before it stay.
 *
 * Safe to call from any number of processes at once: one applies, the others wait and find nothing left to do.
 * A schema that is up to date is only read.
 *
 * @throws SCHEMA_CHANGED when an applied migration has another text here, SCHEMA_NEWER when one that is unknown here is
 *   breaking, DATABASE_PRIVILEGE when the role may not, DATABASE_CONTENTION when somebody else migrates for two minutes
 * @example
 * const { applied, version } = await migrate(sql, { onApply: (name) => console.log(`applied ${name}`) });
 */
export async function migrate(sql: postgres.Sql, options: MigrateOptions = {}): Promise<MigrationReport> {
  const migrations = inOrder(options.migrations ?? shippedMigrations);
  try {
    const before = await readApplied(sql);
    if (pendingOf(migrations, before).length === 0) return { applied: [], version: versionOf(before) };
    const connection = await sql.reserve();
    let report: MigrationReport;
    try {
      report = await migrateLocked(connection, migrations, options);
    } catch (error) {
      if (!isConnectionLost(error)) connection.release();
      throw error;
    }
    connection.release();
    return report;
  } catch (error) {
    throw toDatabaseError(error);
  }
}

/**
 * Checks, without changing anything, that this process may run on the schema as it is.
 *
 * @throws SCHEMA_OLDER when a migration is missing, SCHEMA_CHANGED and SCHEMA_NEWER as {@link migrate} does
 */
export async function checkSchema(
  sql: postgres.Sql,
  options: Pick<MigrateOptions, "migrations"> = {},
): Promise<{ readonly version: number }> {
  const migrations = inOrder(options.migrations ?? shippedMigrations);
  let applied: readonly AppliedMigration[];
  try {
    applied = await readApplied(sql);
  } catch (error) {
    throw toDatabaseError(error);
  }
  const pending = pendingOf(migrations, applied);
  if (pending.length > 0) {
    const names = pending.map((migration) => migration.name).join(", ");
    throw new SluiceError("SCHEMA_OLDER", `The schema in the database lacks these migrations: ${names}.`);
  }
  return { version: versionOf(applied) };
}

async function migrateLocked(
  connection: postgres.ReservedSql,
  migrations: readonly Migration[],
  options: MigrateOptions,
): Promise<MigrationReport> {
  const [timeout] = await connection<{ value: string }[]>`select current_setting('lock_timeout') as value`;
  await connection`select set_config('lock_timeout', ${String(lockTimeoutMs)}, false)`;
  const restore = async () => {
    await connection`select pg_advisory_unlock_all(), set_config('lock_timeout', ${timeout?.value ?? "0"}, false)`;
  };
  let report: MigrationReport;
  try {
    await connection`select pg_advisory_lock(${lockKey}::bigint)`;
    report = await applyPending(connection, migrations, options);
  } catch (error) {
    // Where this fails too, the connection is dead, its lock with it, and the first error is the one that tells.
    if (!isConnectionLost(error)) await restore().catch(() => undefined);
    throw error;
  }
  await restore();
  return report;
}

async function applyPending(
  connection: postgres.ReservedSql,
  migrations: readonly Migration[],
  options: MigrateOptions,
): Promise<MigrationReport> {
  const applied: string[] = [];
  for (const migration of pendingOf(migrations, await readApplied(connection))) {
    await apply(connection, migration);
    applied.push(migration.name);
    options.onApply?.(migration.name);
  }
  return { applied, version: versionOf(await readApplied(connection)) };
}

async function apply(connection: postgres.ReservedSql, migration: Migration): Promise<void> {
  try {
    await connection.unsafe("begin");
    // Names without a schema must not land wherever the role's own search path points.
    await connection.unsafe("set local search_path = pg_catalog, pg_temp; set local client_min_messages = warning");
    await connection.unsafe(migration.text);
    const { number, name, hash, breaking } = migration;
    await connection.unsafe(recordMigration, [number, name, hash, breaking]);
    await connection.unsafe("commit");
  } catch (thrown) {
    const error = toDatabaseError(thrown);
    const isGone = "The connection is gone, so it was rolled back unless its commit was under way.";
    const rollback = isConnectionLost(error)
      ? isGone
      : await connection.unsafe("rollback").then(
          () => "It was rolled back.",
          () => isGone,
        );
    throw new SluiceError(error.code, `The migration ${migration.name} failed: ${error.message} ${rollback}`, {
      cause: error.cause,
      ...(error.sqlState === undefined ? {} : { sqlState: error.sqlState }),
    });
  }
}

/**
 * Whether a reserved connection is gone, so that nothing may be said to it any more: the driver writes a statement that follows a reset to
 * the socket that is about to close and never settles it, or throws where nobody can catch it; one that is given back it hands out again.
 */
function isConnectionLost(error: unknown): boolean {
  const { code, sqlState } = toDatabaseError(error);
  return code === "DATABASE_UNREACHABLE" && sqlState === undefined;
}

async function readApplied(sql: postgres.Sql | postgres.ReservedSql): Promise<readonly AppliedMigration[]> {
  const [ledger] = await sql<{ exists: boolean }[]>`select to_regclass('sluice.migrations') is not null as exists`;
  if (ledger?.exists !== true) return [];
  return sql.unsafe<AppliedMigration[]>(readLedger);
}

/** The migrations that are missing, after a check of those that are not. */
function pendingOf(migrations: readonly Migration[], applied: readonly AppliedMigration[]): Migration[] {
  const known = new Map(migrations.map((migration) => [migration.number, migration]));
  for (const row of applied) {
    const migration = known.get(row.number);
    if (migration === undefined) {
      if (!row.breaking) continue;
      throw new SluiceError(
        "SCHEMA_NEWER",
        `The database has the migration ${row.name}, which this version of Sluice does not know and cannot run with. Upgrade Sluice.`,
      );
    }
    if (migration.hash !== row.hash) {
      throw new SluiceError(
        "SCHEMA_CHANGED",
        `The migration ${migration.name}.sql was edited after it had been applied (as ${row.name}). Restore it and add a new one.`,
      );
    }
  }
  const numbers = new Set(applied.map((row) => row.number));
  return migrations.filter((migration) => !numbers.has(migration.number));
}

function versionOf(applied: readonly AppliedMigration[]): number {
  return applied.at(-1)?.number ?? -1;
}

function inOrder(migrations: readonly Migration[]): Migration[] {
  const sorted = [...migrations].sort((left, right) => left.number - right.number);
  const twice = sorted.find((migration, index) => sorted[index - 1]?.number === migration.number);
  if (twice === undefined) return sorted;
  throw new SluiceError("INVALID_OPTIONS", `Two migrations have the number of ${twice.name}.`);
}
