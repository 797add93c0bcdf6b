export { type TestDatabase, type TestDatabaseOptions, testDatabase } from "./database.ts";
export { dumpSchema } from "./dump-schema.ts";
export { eventually } from "./eventually.ts";
export * from "./history.ts";
export { type Pgbouncer, type PgbouncerOptions, pgbouncerMissing, startPgbouncer } from "./pgbouncer.ts";
export { type Random, seeded } from "./random.ts";

export { testServer } from "./server.ts";
export { type FaultyProxy, type HeldStatement, type StatementMatch, startProxy } from "./tcp-proxy.ts";
