import { readFileSync } from "node:fs";
import { bigint, boolean, integer, pgSchema, primaryKey, text, timestamp, uuid } from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";

const schema = pgSchema("signup");

/** The users; their constraints and comments stand in schema.sql. */
export const users = schema.table("users", {
  id: uuid().primaryKey(),
  name: text().notNull(),
  email: text().notNull(),
  phone: text().notNull(),
  way: text().$type<"queued" | "serial" | "parallel">().notNull().default("queued"),
  createdAt: timestamp("created_at", { withTimezone: true }).notNull().defaultNow(),
});

/** What became of each message in each channel. */
export const deliveries = schema.table(
  "deliveries",
  {
    messageId: text("message_id").notNull(),
    channel: text().$type<Channel>().notNull(),
    userId: uuid("user_id").notNull(),
    state: text().$type<"sent" | "refused">().notNull(),
    detail: text().notNull(),
    attempt: integer().notNull(),
    partition: integer().notNull(),
    offset: bigint({ mode: "number" }).notNull(),
    settledAt: timestamp("settled_at", { withTimezone: true }).notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.messageId, table.channel] })],
);

/** The reports of past comparisons. */
export const comparisons = schema.table("comparisons", {
  run: text().primaryKey(),
  madeAt: timestamp("made_at", { withTimezone: true }).notNull().defaultNow(),
  passed: boolean().notNull(),
  report: text().notNull(),
});

/** The two ways to reach a user, named after the consumer groups that serve them. */
export type Channel = "email" | "sms";

/** The app's own door to Postgres: typed queries in `orm`, and plain SQL for what Sluice's views show. */
export interface Database {
  readonly orm: ReturnType<typeof drizzle>;
  readonly sql: postgres.Sql;
  /** Whether another process of this app is connected to the same database. */
  isShared(): Promise<boolean>;
  /** Waits up to five seconds for queries under way. */
  close(): Promise<void>;
}

/**
 * Opens the pool (16 connections, each query bounded to 10 s) and brings the app's own tables up to date.
 *
 * Fails with postgres.js's error when the server cannot be reached or refuses.
 */
export async function openDatabase(url: string): Promise<Database> {
  const name = `signup ${crypto.randomUUID()}`;
  const sql = postgres(url, {
    max: 16,
    connect_timeout: 10,
    onnotice: () => undefined,
    connection: { application_name: name, statement_timeout: 10_000 },
  });
  try {
    const statements = readFileSync(new URL("./schema.sql", import.meta.url), "utf8");
    await sql.begin((transaction) => transaction.unsafe(statements).simple());
  } catch (error) {
    await sql.end({ timeout: 0 });
    throw error;
  }
  return {
    orm: drizzle(sql),
    sql,
    async isShared() {
      const others = await sql`
        select from pg_stat_activity
        where datname = current_database() and application_name like 'signup %' and application_name <> ${name}`;
      return others.length > 0;
    },
    close: () => sql.end({ timeout: 5 }),
  };
}
