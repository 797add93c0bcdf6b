import { expect, setDefaultTimeout, test } from "bun:test";
import { migrate, migrations } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import postgres from "postgres";

setDefaultTimeout(60_000);

test("[Q10] what was compiled against sluice.send_once before it took a priority goes on, beside callers by name", async () => {
  await using database = await testDatabase({ migrated: false });
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  try {
    await migrate(sql, { migrations: migrations.filter(({ number }) => number < 27) });
    await sql`select sluice.create_topic('orders')`;
    await sql`select sluice.guard_topic('orders', deduplicate_ms => 300000)`;
    await sql.unsafe(`
      create function compiled() returns text language sql begin atomic select sluice.send_once('orders', 'a', '1'); end;
      create function by_name() returns text language sql as $$ select sluice.send_once('orders', 'b', '2', 'key') $$`);
    await migrate(sql, { migrations });
    await sql`select compiled(), by_name()`;
    const rows = await sql`select value from sluice.outbox order by outbox`;
    expect(rows.map(({ value }) => value)).toEqual(["1", "2"]);
  } finally {
    await sql.end();
  }
});
