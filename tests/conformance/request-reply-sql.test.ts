import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, topic } from "sluice";
import { z } from "zod";
import { count, eventually, type World, world } from "./harness.ts";

const prices = topic("prices", {
  schema: z.object({ article: z.string() }),
  replies: z.object({ price: z.number() }),
  partitions: 2,
});

/** Everything that was answered, as SQL shows it. */
async function replies(here: World) {
  const rows = await here.sql<{ value: unknown; failure: string | null; dropped: number }[]>`
    select value, failure, dropped from sluice.replies order by replied_at`;
  return rows.map((row) => ({ ...row }));
}

test("[Q7] the check sees a second answer that takes the place of the first", async () => {
  await using here = await world();
  const [row] = await here.sql<{ text: string }[]>`
    select pg_get_functiondef('sluice.keep_reply'::regproc) as text`;
  const defect = row?.text.replace("do nothing", "do update set value = excluded.value");
  assert.notEqual(defect, row?.text);
  await here.sql.unsafe(defect ?? "");
  const headers = JSON.stringify({ "reply-to": "psql", "correlation-id": "1" });
  for (const price of [1, 2])
    await here.sql`select sluice.reply(${headers}::text::json, ${`{"price":${price}}`}::text::json)`;
  assert.notDeepEqual(await replies(here), [{ value: { price: 1 }, failure: null, dropped: 1 }]);
});

test("[Q7] SQL asks and answers with nothing but the message's headers", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [prices] });
  // A handler in another language: it reads the log's view, and answers.
  const asked = sluice.request(prices, { article: "ball" }).catch((error: unknown) => error);
  const answer = () => here.sql<{ kept: boolean }[]>`
    select sluice.reply(headers, json_build_object('price', length(value->>'article'))) as kept from topics.prices`;
  const first = await eventually("the message is there", async () => {
    const rows = await answer();
    return rows.length > 0 ? rows : undefined;
  });
  assert.deepEqual(
    first.map(({ kept }) => kept),
    [true],
  );
  assert.deepEqual(await asked, { price: 4 });
  assert.deepEqual(
    (await answer()).map(({ kept }) => kept),
    [false],
  );
  const failed = sluice.request(prices, { article: "bat" });
  await Promise.all([
    assert.rejects(failed, { code: "REQUEST_FAILED", reason: "rejected" }),
    eventually("the second message is there", async () => {
      const rows = await here.sql`
        select sluice.reply(headers, null, failure => 'rejected') from topics.prices where value->>'article' = 'bat'`;
      return rows.length > 0 ? true : undefined;
    }),
  ]);
  // A requester in another language: a send with the headers, and a select.
  const answering = consumer(prices, { group: "pricing", handler: (c) => void c.reply({ price: 9 }) });
  await using _running = await here.start(app({ consumers: [answering] }));
  await here.sql`select sluice.send('prices', value => '{"article":"bell"}',
    headers => '{"reply-to":"psql","correlation-id":"q-1","reply-within-ms":"60000"}')`;
  const value = await eventually("the answer is there", async () => {
    const rows = await here.sql`select value from sluice.replies where inbox = 'psql' and correlation = 'q-1'`;
    return rows[0]?.["value"] as unknown;
  });
  assert.deepEqual(value, { price: 9 });
  const nobody = await here.sql`select sluice.reply('{}', '1') as kept`;
  assert.equal(nobody[0]?.["kept"], false);
  await assert.rejects(here.sql`select sluice.reply('{"reply-to":"a"}', '1')`, { code: "22023" });
  await assert.rejects(here.sql`select sluice.reply('{"reply-to":"a","correlation-id":"b"}', null)`, { code: "22023" });
});

test("[Q7] answers that nobody waits for any more are forgotten, and no others", async () => {
  await using here = await world();
  const answer = (correlation: string, withinMs: number) => {
    const headers = { "reply-to": "psql", "correlation-id": correlation, "reply-within-ms": String(withinMs) };
    return here.sql`select sluice.reply(${JSON.stringify(headers)}::text::json, '1')`;
  };
  for (const number of count(3)) await answer(`over-${number}`, 1);
  await answer("waiting", 60_000);
  await eventually("their time is over", async () => {
    const rows = await here.sql`select from sluice.replies where expires_at < clock_timestamp()`;
    return rows.length === 3 ? true : undefined;
  });
  const forget = async () => (await here.sql`select sluice.forget_replies(2) as gone`)[0]?.["gone"];
  assert.deepEqual([await forget(), await forget(), await forget()], [2, 1, 0]);
  assert.deepEqual(
    (await here.sql`select correlation from sluice.replies`).map((row) => row["correlation"]),
    ["waiting"],
  );
});
