import { SluiceError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import { groupNumber } from "./group-number.ts";
import registerStatement from "./sql/register-consumer.sql" with { type: "text" };

/** How a group works on a topic: partitions have owners, members lease ranges, or each member reads everything. */
export type GroupMode = "assigned" | "shared" | "broadcast";

/** What is noted of a group that works on a topic. */
export interface Registration {
  readonly group: string;
  readonly topic: { readonly number: number; readonly name: string };
  readonly mode: GroupMode;
  /** Whether retention keeps what the group has not passed. */
  readonly isProtected: boolean;
}

/**
 * Notes how a group works on a topic, and gives the group's number.
 *
 * Fails with INVALID_OPTIONS when it works on the topic in another way already: what one way notes, another cannot read.
 */
export async function registerConsumer(pool: Pool, registration: Registration): Promise<number> {
  const { group: name, topic, mode, isProtected } = registration;
  const what = `joining group ${name}`;
  const group = await groupNumber(pool, what, name);
  const registered = await pool.query<{ mode: GroupMode }>(what, registerStatement, [
    group,
    topic.number,
    mode,
    isProtected,
  ]);
  const present = registered[0]?.mode;
  if (present !== mode) {
    throw new SluiceError(
      "INVALID_OPTIONS",
      `group ${name} works on topic ${topic.name} in the way "${present}" and cannot work on it as "${mode}". ` +
        "Nothing was changed. Give the consumer another group.",
    );
  }
  return group;
}
