import { SluiceError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import joinStatement from "./sql/join-group.sql" with { type: "text" };

/** The number of a group, which is made if it is new. `what` tells errors what it is for. */
export async function groupNumber(pool: Pool, what: string, name: string): Promise<number> {
  const ask = async () => (await pool.query<{ group: number }>(what, joinStatement, [name]))[0]?.group;
  // Someone else's insert may be invisible to the statement that lost against it: then the second look sees it.
  const group = (await ask()) ?? (await ask());
  if (group === undefined) throw new SluiceError("INTERNAL", `${what}: it has no number`);
  return group;
}
