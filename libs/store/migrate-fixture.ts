// A process of its own for the tests of migrating: migrates, and says in one line what it did.
import postgres from "postgres";
import { migrate } from "./migrate.ts";

const [url] = process.argv.slice(2);
if (url === undefined) throw new Error("usage: migrate-fixture.ts URL");
const sql = postgres(url, { max: 2 });
console.log(JSON.stringify(await migrate(sql)));
await sql.end();
