import type { Database } from "./database.ts";

/** How many messages each group of the topic has yet to finish; the page of an operator asks the same in psql. */
export async function lagByGroup(database: Database): Promise<ReadonlyMap<string, number>> {
  const rows = await database.sql<{ group: string; lag: string }[]>`
    select "group", sum(lag)::text as lag from sluice.lag where topic = 'signups' group by "group" order by "group"`;
  return new Map(rows.map((row) => [row.group, Number(row.lag)]));
}
