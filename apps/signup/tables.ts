import { bigint, boolean, integer, pgSchema, text, timestamp, uuid } from "drizzle-orm/pg-core";

const schema = pgSchema("signup");

/** The two ways to reach a user, named after the consumer groups that serve them. */
export type Channel = "email" | "sms";

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
export const deliveries = schema.table("deliveries", {
  messageId: text("message_id").notNull(),
  channel: text().$type<Channel>().notNull(),
  userId: uuid("user_id").notNull(),
  state: text().$type<"sent" | "refused">().notNull(),
  detail: text().notNull(),
  attempt: integer().notNull(),
  redriven: boolean().notNull(),
  partition: integer().notNull(),
  offset: bigint({ mode: "number" }).notNull(),
  settledAt: timestamp("settled_at", { withTimezone: true }).notNull().defaultNow(),
});

/** The vouchers of the third group: one for each user. */
export const vouchers = schema.table("vouchers", {
  userId: uuid("user_id").primaryKey(),
  code: text().notNull(),
  givenAt: timestamp("given_at", { withTimezone: true }).notNull().defaultNow(),
});
