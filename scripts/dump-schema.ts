// Rewrites migrations/schema.sql: what the migrations make of an empty database, for people to review.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { dumpSchema, testDatabase } from "../libs/testkit/index.ts";

await using database = await testDatabase();
const sql = postgres(database.url, { max: 1 });
try {
  const path = join(import.meta.dirname, "..", "migrations", "schema.sql");
  writeFileSync(path, await dumpSchema(sql));
  console.log(`wrote ${path}`);
} finally {
  await sql.end();
}
