import { SluiceError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import hasGroupStatement from "./sql/has-group.sql" with { type: "text" };

/** Fails with NO_GROUP when no group has ever begun to consume the topic: a message would wait for nobody. */
export async function requireGroup(
  pool: Pool,
  topic: { readonly number: number; readonly name: string },
): Promise<void> {
  const what = `looking for groups of topic ${topic.name}`;
  const [row] = await pool.query<{ found: boolean }>(what, hasGroupStatement, [topic.number]);
  if (row?.found === true) return;
  throw new SluiceError(
    "NO_GROUP",
    `no group consumes topic ${topic.name}, and this send asks for one. Nothing was written. ` +
      "Start a consumer of the topic first, or send without requireGroup: a group that comes later can begin at the earliest message.",
  );
}
