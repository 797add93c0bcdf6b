import type postgres from "postgres";
import { dumpSections } from "./dump-schema-sections.ts";

const header = `-- The schema as the migrations make it, rendered from Postgres's own catalog.
-- To be read and reviewed, not run; written by scripts/dump-schema.ts. A test fails when it differs.
`;

/**
 * The schemas `sluice`, `sluice_log` and `topics` as SQL text: tables with columns, defaults, constraints and storage parameters,
 * indexes, sequences, types, views, functions, triggers, grants and comments.
 *
 * Deterministic: sorted by name, free of numbers and times of this database. Two databases with the same schema on the
 * same major version of Postgres give the same text.
 *
 * @example
 * const text = await dumpSchema(sql);
 */
export async function dumpSchema(sql: postgres.Sql): Promise<string> {
  const parts = await sql.begin("isolation level repeatable read, read only", async (transaction) => {
    // With an empty search path the catalog's functions qualify every name.
    await transaction`select set_config('search_path', '', true)`;
    const texts: string[] = [];
    for (const section of dumpSections) {
      const rows = await transaction.unsafe<{ text: string }[]>(section.query);
      if (rows.length === 0) continue;
      texts.push(`-- ${section.title}\n\n${rows.map((row) => row.text.trimEnd()).join(section.separator)}\n`);
    }
    return texts;
  });
  return `${[header, ...parts].join("\n")}`;
}
