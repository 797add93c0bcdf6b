import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumedRecord, consumer, isSluiceError, partitionOfKey, topic } from "sluice";
import { z } from "zod";
import { caughtUp, Inbox, type World, world } from "./harness.ts";

const signups = topic("signups", {
  schema: z.object({ userId: z.string(), amount: z.number().optional() }),
  key: (signup) => signup.userId,
  partitions: 4,
});

type Seen = Pick<ConsumedRecord<{ userId: string }>, "partition" | "key" | "headers" | "id"> & { userId: string };

function start(here: World, inbox: Inbox<Seen>) {
  const reading = consumer(signups, {
    group: "reading",
    handler: ({ partition, key, headers, id, value }) =>
      inbox.add({ partition, key, headers, id, userId: value.userId }),
  });
  return here.start(app({ consumers: [reading] }));
}

test("[N4] a topic joins with a table in one query", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  await here.sql`create table users (id text primary key, name text)`;
  await here.sql`insert into users values ('u1', 'Ada'), ('u2', 'Grace'), ('u3', 'Never signed up')`;
  await sluice.sendBatch(signups, [
    { userId: "u1", amount: 2 },
    { userId: "u2", amount: 5 },
    { userId: "u1", amount: 40 },
  ]);
  const rows = await here.sql`
    select u.name, count(s."offset")::int as messages, coalesce(sum((s.value->>'amount')::int), 0)::int as amount
    from users u left join topics.signups s on s.key = u.id
    group by u.name order by u.name`;
  assert.deepEqual(
    rows.map((row) => [row["name"], row["messages"], row["amount"]]),
    [
      ["Ada", 2, 42],
      ["Grace", 1, 5],
      ["Never signed up", 0, 0],
    ],
  );
});

test("[N4] a group's lag joins with the topic's messages: what is not handled yet", async () => {
  await using here = await world();
  const never = consumer(signups, { group: "never", commit: "explicit", handler: () => undefined });
  await using running = await here.start(app({ consumers: [never] }));
  await running.sluice.sendBatch(signups, [{ userId: "u1" }, { userId: "u2" }]);
  const rows = await here.sql`
    select s.value->>'userId' as id from sluice.lag l
    join topics.signups s on s.partition = l.partition and s."offset" >= l.committed_offset
    where l."group" = 'never' and l.topic = 'signups' order by 1`;
  assert.deepEqual(
    rows.map((row) => row["id"]),
    ["u1", "u2"],
  );
});

test("[N4] sluice.send() from SQL goes to the partition of its key, and to the handlers", async () => {
  await using here = await world();
  const inbox = new Inbox<Seen>();
  await using running = await start(here, inbox);
  const [sent] = await here.sql<{ id: string }[]>`
    select sluice.send('signups', key => 'u1', value => '{"userId":"u1"}', headers => '{"from":"psql"}') as id`;
  assert.deepEqual(await inbox.until(1), [
    { partition: partitionOfKey("u1", 4), key: "u1", headers: { from: "psql" }, id: sent?.id, userId: "u1" },
  ]);
  void running;
});

test("[N4] sluice.send() waits in the outbox until an app runs, and is not sent when its transaction rolls back", async () => {
  await using here = await world();
  {
    await using sluice = await here.connect({ topics: [signups] });
    void sluice;
  }
  await here.sql`select sluice.send('signups', '{"userId":"kept"}')`;
  await assert.rejects(
    here.sql.begin(async (tx) => {
      await tx`select sluice.send('signups', '{"userId":"undone"}')`;
      throw new Error("undo");
    }),
    { message: "undo" },
  );
  const [waiting] = await here.sql`select count(*)::int as messages from sluice.outbox`;
  assert.equal(waiting?.["messages"], 1);
  const inbox = new Inbox<Seen>();
  await using running = await start(here, inbox);
  await inbox.until(1);
  await caughtUp(here.sql, "reading");
  assert.deepEqual(
    inbox.items.map(({ userId, key }) => [userId, key]),
    [["kept", null]],
  );
  void running;
});

test("[N4] a trigger sends: the row and the message are one transaction", async () => {
  await using here = await world();
  const inbox = new Inbox<Seen>();
  await using running = await start(here, inbox);
  await here.sql.unsafe(`
    create table users (id text primary key);
    create function announce() returns trigger language plpgsql as $$
    begin
      perform sluice.send('signups', key => new.id, value => json_build_object('userId', new.id));
      return new;
    end $$;
    create trigger announce after insert on users for each row execute function announce();`);
  await here.sql`insert into users values ('u1'), ('u2')`;
  await assert.rejects(here.sql`insert into users values ('u3'), ('u1')`, { code: "23505" });
  await here.sql`insert into users values ('u4')`;
  await inbox.until(3);
  await caughtUp(here.sql, "reading");
  assert.deepEqual(inbox.items.map(({ userId }) => userId).sort(), ["u1", "u2", "u4"]);
  void running;
});

test("[N4] sluice.send() refuses what cannot be read back, with a SQLSTATE", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [signups] });
  const refusals: readonly (readonly [string, string])[] = [
    ["select sluice.send('nowhere', '{}')", "42704"],
    ["select sluice.send('signups', null)", "22004"],
    ["select sluice.send('signups', '{\"a\":\"\\u0000\"}')", "22P05"],
    ["select sluice.send('signups', '{\"a\":\"\\ud800\"}')", "22P02"],
    ["select sluice.send('signups', '{}', headers => '[]')", "22023"],
    ["select sluice.send('signups', '{}', headers => '{\"a\":1}')", "22023"],
    ["select sluice.send('signups', '{}', partition => 4)", "22023"],
    ["select sluice.send('signups', '{}', key => repeat('k', 1025))", "23514"],
    ["select sluice.send('signups', to_json(repeat('v', 1048576)))", "23514"],
    ["select sluice.send('signups', '{}', headers => '{\"a\":\"\\u0000\"}')", "22P05"],
  ];
  for (const [statement, code] of refusals) {
    await assert.rejects(here.sql.unsafe(statement), { code }, statement);
  }
  const [row] = await here.sql`select count(*)::int as waiting from sluice.outbox`;
  assert.equal(row?.["waiting"], 0);
  assert.equal((await sluice.send(signups, { userId: "still works" })).status, "appended");
});

test("[N5] what SQL sends past the schema goes to the dead letters, with the path and no attempt more", async () => {
  await using here = await world();
  const inbox = new Inbox<Seen>();
  await using running = await start(here, inbox);
  await here.sql`select sluice.send('signups', key => 'k', value => '{"userId":7}')`;
  await here.sql`select sluice.send('signups', key => 'k', value => '{"userId":"fits"}')`;
  await inbox.until(1);
  const [letter] = await here.sql`
    select "group", topic, key, value, reason, attempts, error from sluice.dead_letters`;
  const { error, ...rest } = letter as Record<string, unknown>;
  assert.deepEqual(rest, {
    group: "reading",
    topic: "signups",
    key: "k",
    value: { userId: 7 },
    reason: "schema",
    attempts: 1,
  });
  assert.match(String(error), /userId/);
  void running;
});

test("[N5] a value that does not fit is refused at the edge, with its paths, and nothing is written", async () => {
  await using here = await world();
  const deep = topic("deep", {
    schema: z.object({ address: z.object({ streets: z.array(z.string()) }), mail: z.email() }),
    partitions: 1,
  });
  await using sluice = await here.connect({ topics: [deep] });
  const wrong = { address: { streets: ["a", "b", 3] }, mail: "nobody" } as unknown as {
    address: { streets: string[] };
    mail: string;
  };
  const refusal = (error: unknown) => {
    assert.ok(isSluiceError(error, "INVALID_VALUE"));
    assert.deepEqual(
      error.problems.map((problem) => problem.path),
      ["address.streets[2]", "mail"],
    );
    assert.equal(error.message.includes("nobody"), false, "a message never holds a payload");
    assert.equal(error.retryable, false);
    return true;
  };
  await assert.rejects(sluice.send(deep, wrong), refusal);
  await assert.rejects(
    sluice.sendBatch(deep, [{ address: { streets: [] }, mail: "a@example.com" }, wrong]),
    refusal,
    "a batch with one bad value sends nothing",
  );
  assert.throws(() => sluice.post(deep, wrong), refusal);
  await assert.rejects(
    here.sql.begin((tx) => sluice.send(deep, wrong, { tx })),
    refusal,
  );
  const [row] = await here.sql`
    select (select count(*) from topics.deep)::int + (select count(*) from sluice.outbox)::int as messages`;
  assert.equal(row?.["messages"], 0);
});
