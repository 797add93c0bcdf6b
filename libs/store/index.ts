export { isDatabaseUrl } from "./client.ts";
export { withDeadline } from "./deadline.ts";
export { callInTransaction, runInTransaction, type UserTransaction } from "./executor.ts";
export { type Attend, type GuardedTransaction, guardTransactions } from "./guarded-transactions.ts";
export { checkSchema, type MigrationReport, migrate } from "./migrate.ts";
export type { Migration } from "./migration.ts";
export { defineMigration } from "./migration.ts";
export { migrations } from "./migrations.ts";
export {
  arrayLiteral,
  explain,
  Pool,
  type PoolOptions,
  type StatementParameter,
  type StatementRow,
  textArrayLiteral,
} from "./pool.ts";
export { findPooling, type Pooling } from "./pooling.ts";
export { LeasedPresence, type Presence } from "./presence.ts";
export { findRoute, type Route, type RouteOptions } from "./route.ts";
export { checkServer } from "./server.ts";
export { Session, type SessionOptions } from "./session.ts";
export { type Asked, type CallLimits, Silence } from "./silence.ts";
