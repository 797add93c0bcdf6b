import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { app, type CheckBackDecision, consumer, type HalfMessageInfo, isSluiceError, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, recordingLogger, type World, world } from "./harness.ts";

const orders = topic("orders", { schema: z.object({ order: z.string() }), key: ({ order }) => order, partitions: 2 });

/** An app that reads what is committed. */
async function reading(here: World, options: Parameters<typeof app>[0] = {}) {
  const inbox = new Inbox<string>();
  const reader = consumer(orders, {
    group: "reading",
    handler: (c) => inbox.add(`${c.id} ${c.key} ${c.value.order} ${c.headers["from"]}`),
  });
  return { inbox, running: await here.start(app({ poll: "20ms", consumers: [reader], ...options })) };
}

const stateOf = async ({ sql }: World, half: string) =>
  (await sql`select state, checks, last_answer, decided_by from sluice.half_messages where half = ${half}`)[0];

/** Resolves once a half message is in a state. */
const until = (here: World, half: string, state: string) =>
  eventually(`half message ${half} is ${state}`, async () => {
    const row = await stateOf(here, half);
    return row?.["state"] === state ? row : undefined;
  });

test("[R3] a prepared message is seen by nobody until it is committed, and then once", async () => {
  await using here = await world();
  const { inbox, running } = await reading(here);
  await using _ = running;
  const half = await running.sluice.prepare(orders, { order: "a" }, { checkBack: "orders", headers: { from: "half" } });
  await running.sluice.send(orders, { order: "b" });
  await inbox.until(1);
  assert.equal((await stateOf(here, half.id))?.["state"], "prepared");
  const outcome = await half.commit();
  assert.deepEqual(outcome, { outcome: "committed", decided: true, messageId: outcome.messageId });
  assert.equal((await inbox.until(2))[1], `${outcome.messageId} a a half`);
  // Again, by another who knows only the id; and too late.
  assert.deepEqual(await running.sluice.half(half.id).commit(), { ...outcome, decided: false });
  assert.deepEqual(await half.rollback(), { ...outcome, decided: false });
  const [kept] = await here.sql`select key, value, headers from sluice.half_messages`;
  assert.deepEqual({ ...kept }, { key: null, value: null, headers: null }, "what is decided keeps no payload");
});

test("[R3] what is rolled back is never seen; a decision is forgotten after a week, and told as such", async () => {
  await using here = await world();
  const { inbox, running } = await reading(here, { checkBacks: { orders: () => "unknown" } });
  await using _ = running;
  const half = await running.sluice.prepare(orders, { order: "a" }, { checkBack: "orders" });
  assert.deepEqual(await half.rollback(), { outcome: "rolled-back", decided: true, messageId: null });
  assert.deepEqual(await half.commit(), { outcome: "rolled-back", decided: false, messageId: null });
  await here.sql`update sluice.half_message set decided_at = decided_at - interval '8 days'`;
  await eventually("it is forgotten", async () => ((await stateOf(here, half.id)) === undefined ? true : undefined));
  assert.deepEqual(await half.commit(), { outcome: "forgotten", decided: false, messageId: null });
  await running.sluice.send(orders, { order: "b" });
  await inbox.until(1);
  assert.equal(inbox.items.length, 1);
});

test("[R3] of any number of commits and rollbacks at once one decides, and the others are told what it was", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  for (const order of count(8)) {
    const half = await sluice.prepare(orders, { order: `${order}` }, { checkBack: "orders" });
    const outcomes = await Promise.all(
      count(6).map((number) => ((number + order) % 2 === 0 ? half.commit() : half.rollback())),
    );
    assert.equal(outcomes.filter(({ decided }) => decided).length, 1);
    assert.equal(new Set(outcomes.map(({ outcome, messageId }) => `${outcome} ${messageId}`)).size, 1);
    const queued = await here.sql`select from sluice.outbox where key = ${`${order}`}`;
    assert.equal(queued.length, outcomes[0]?.outcome === "committed" ? 1 : 0);
  }
});

test("[R3] when neither comes, the check-back of the process that has it decides; processes without it leave it alone", async () => {
  await using here = await world();
  const without = await reading(here, {
    checkBacks: { others: () => "rollback" },
    checkBackOrigins: ["http://localhost:1"],
  });
  await using _ = without.running;
  const asked: HalfMessageInfo[] = [];
  const answers: CheckBackDecision[] = ["unknown", "commit"];
  const decide = (half: HalfMessageInfo) => {
    asked.push(half);
    if (half.key === "thrower" && half.checks === 1) throw new Error(`secret ${half.key}`);
    return half.key === "rolled" ? "rollback" : (answers[half.checks - 1] ?? "unknown");
  };
  const prepare = (order: string) =>
    without.running.sluice.prepare(orders, { order }, { checkBack: "orders", timeout: 100 });
  const [first, rolled, thrower] = [await prepare("first"), await prepare("rolled"), await prepare("thrower")];
  await eventually("all are overdue", async () => {
    const rows = await here.sql`select from sluice.half_messages where next_check_at < clock_timestamp()`;
    return rows.length === 3 ? true : undefined;
  });
  assert.deepEqual(
    [...(await here.sql`select distinct checks from sluice.half_messages`)].map((row) => row["checks"]),
    [0],
  );
  const logger = recordingLogger();
  await using _asking = await here.start(app({ name: "asking", poll: "20ms", checkBacks: { orders: decide } }), {
    logger,
  });
  await until(here, first.id, "committed");
  await until(here, thrower.id, "committed");
  assert.equal((await until(here, rolled.id, "rolled-back"))["decided_by"], "check-back");
  assert.deepEqual([...(await without.inbox.until(2))].map((item) => item.split(" ")[1]).sort(), ["first", "thrower"]);
  const info = asked.find(({ key }) => key === "first");
  assert.deepEqual(
    { ...info, preparedAt: 0 },
    {
      id: first.id,
      topic: "orders",
      partition: info?.partition,
      key: "first",
      headers: {},
      value: { order: "first" },
      checks: 1,
      preparedAt: 0,
    },
  );
  assert.equal((await stateOf(here, thrower.id))?.["last_answer"], "the check-back threw Error");
  assert.equal(asked.filter(({ key }) => key === "first").length, 2);
  assert.ok(
    !JSON.stringify(logger.lines.map(({ message, fields: { error: _error, ...rest } }) => [message, rest])).includes(
      "secret",
    ),
  );
  // Late, and told so.
  assert.equal((await rolled.commit()).outcome, "rolled-back");
});

test("[R3] an endpoint is asked by POST, without the value, and only at an origin that is allowed; what is no decision is none", async () => {
  await using here = await world();
  const bodies: unknown[] = [];
  const paths: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    request.on("end", () => {
      const path = request.url ?? "";
      paths.push(path);
      bodies.push(JSON.parse(new TextDecoder().decode(Uint8Array.from(chunks.flatMap((chunk) => [...chunk])))));
      if (path === "/redirect") response.writeHead(302, { location: "/commit" }).end();
      else if (path === "/broken") response.writeHead(500).end('{"decision":"commit"}');
      else if (path === "/endless") response.end(`{"decision":"commit","more":"${"x".repeat(10_000)}"}`);
      else if (path === "/odd") response.end('{"decision":"perhaps"}');
      else if (path === "/text") response.end("commit");
      else response.end(`{"decision":"${path.slice(1)}"}`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = server.address();
    assert.ok(address !== null && typeof address !== "string");
    const origin = `http://127.0.0.1:${address.port}`;
    const { inbox, running } = await reading(here, {
      checkBacks: { named: `${origin}/commit` },
      checkBackOrigins: [origin],
    });
    await using _ = running;
    const prepare = async (checkBack: string) =>
      (
        await running.sluice.prepare(
          orders,
          { order: checkBack.slice(-8) },
          { checkBack, timeout: 100, maxChecks: 1, headers: { from: "h" } },
        )
      ).id;
    const states = async (ids: readonly string[], state: string) => {
      for (const id of ids) await until(here, id, state);
    };
    await states([await prepare("named"), await prepare(`${origin}/commit`)], "committed");
    await states([await prepare(`${origin}/rollback`)], "rolled-back");
    for (const [path, why] of [
      ["redirect", "HTTP 302"],
      ["broken", "HTTP 500"],
      ["endless", "HTTP 200 with a body that is too long"],
      ["odd", "the answer was no decision"],
      ["text", "the answer was no decision"],
      ["unknown", "the endpoint said it cannot tell"],
    ] as const) {
      const row = await until(here, await prepare(`${origin}/${path}`), "undecided");
      assert.equal(row["last_answer"], why, path);
    }
    // Nobody allows these: they are not asked, whatever they look like.
    const strangers = [
      await prepare("http://localhost:1/commit"),
      await prepare(`http://127.0.0.1.example.com:${address.port}/commit`),
    ];
    const unreachable = await prepare(`${origin}/unknown`);
    await until(here, unreachable, "undecided");
    for (const id of strangers) assert.equal((await stateOf(here, id))?.["checks"], 0);
    assert.equal((await inbox.until(2)).length, 2);
    assert.equal(paths.filter((path) => path === "/commit").length, 2, "no redirect was followed");
    for (const body of bodies) assert.deepEqual(Object.keys(body as object).sort(), ["headers", "id", "key", "topic"]);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("[R3] one that nobody can tell about is asked about so often and no more, then kept for a human, or rolled back", async () => {
  await using here = await world();
  let asked = 0;
  const cannotTell = (): CheckBackDecision => {
    asked += 1;
    return "unknown";
  };
  const { inbox, running } = await reading(here, { checkBacks: { orders: cannotTell } });
  await using _ = running;
  const common = { checkBack: "orders", timeout: 100, maxChecks: 2 } as const;
  const kept = await running.sluice.prepare(orders, { order: "kept" }, common);
  const dropped = await running.sluice.prepare(orders, { order: "dropped" }, { ...common, onUndecided: "rollback" });
  assert.equal((await until(here, kept.id, "undecided"))["checks"], 2);
  assert.equal((await until(here, dropped.id, "rolled-back"))["decided_by"], "limit");
  assert.equal(asked, 4);
  const [byHand] = await here.sql`select outcome, decided from sluice.commit_half(${kept.id})`;
  assert.deepEqual({ ...byHand }, { outcome: "committed", decided: true });
  assert.ok((await inbox.until(1))[0]?.includes(" kept "));
});

test("[R3] a check that ended its process counts, so that it is not asked about for ever", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const half = await sluice.prepare(orders, { order: "a" }, { checkBack: "orders", timeout: 100, maxChecks: 2 });
  const claim = async () =>
    (await here.sql`select half, checks from sluice.claim_halves('{orders}', '{}', 10, 0)`)[0]?.["checks"];
  assert.deepEqual([await eventually("it is due", claim), await claim(), await claim()], [1, 2, undefined]);
  assert.equal((await stateOf(here, half.id))?.["state"], "undecided");
});

test("[R3] two that look at once are never handed the same", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  for (const order of count(40))
    await sluice.prepare(orders, { order: `${order}` }, { checkBack: "orders", timeout: 100 });
  await eventually("all are overdue", async () => {
    const rows = await here.sql`select from sluice.half_messages where next_check_at < clock_timestamp()`;
    return rows.length === 40 ? true : undefined;
  });
  const claims = await Promise.all(
    count(8).map(() => here.sql`select half from sluice.claim_halves('{orders}', '{}', 5, 60000)`),
  );
  const handedOut = claims.flatMap((rows) => rows.map((row) => row["half"]));
  assert.equal(handedOut.length, 40);
  assert.equal(new Set(handedOut).size, 40);
});

test("[R3] SQL prepares too, within a transaction", async () => {
  await using here = await world();
  const { inbox, running } = await reading(here);
  await using _ = running;
  const [row] = await here.sql`
    select sluice.prepare('orders', '{"order":"sql"}', check_back => 'orders', key => 'k', headers => '{"from":"psql"}') as half`;
  await here.sql`select * from sluice.commit_half(${row?.["half"]})`;
  assert.ok((await inbox.until(1))[0]?.endsWith(" k sql psql"));
  for (const [statement, code] of [
    ["select sluice.prepare('nowhere', '1', check_back => 'x')", "42704"],
    ["select sluice.prepare('orders', null, check_back => 'x')", "22004"],
    ["select sluice.prepare('orders', '1', check_back => 'x', partition => 2)", "22023"],
    ["select sluice.prepare('orders', '1', check_back => 'x', headers => '{\"a\":1}')", "22023"],
    ["select sluice.prepare('orders', '1', check_back => '')", "23514"],
  ] as const)
    await assert.rejects(here.sql.unsafe(statement), { code }, statement);
});

test("[R3] what cannot be prepared, and check-backs that cannot be asked, are refused with every problem", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [orders] });
  const bad = {
    checkBack: "https://user:pw@example.com/",
    timeout: "10ms",
    maxChecks: 0,
    onUndecided: "drop",
  } as never;
  await assert.rejects(sluice.prepare(orders, { order: "a" }, bad), (error) => {
    assert.ok(isSluiceError(error, "INVALID_OPTIONS"));
    assert.deepEqual(
      error.problems.map(({ path }) => path),
      ["checkBack", "timeout", "maxChecks", "onUndecided"],
    );
    return true;
  });
  for (const checkBack of [
    "",
    "two words",
    "ftp://example.com",
    "javascript:alert(1)",
    "file:///etc/passwd",
    undefined as never,
  ])
    await assert.rejects(sluice.prepare(orders, { order: "a" }, { checkBack }), (error) =>
      isSluiceError(error, "INVALID_OPTIONS"),
    );
  await assert.rejects(sluice.prepare(orders, { order: 1 } as never, { checkBack: "x" }), (error) =>
    isSluiceError(error, "INVALID_VALUE"),
  );
  assert.throws(
    () => sluice.half("x"),
    (error) => isSluiceError(error, "INVALID_OPTIONS"),
  );
  assert.throws(
    () =>
      app({
        checkBacks: { "a b": () => "commit", c: "ftp://x", d: 1 as never },
        checkBackOrigins: ["https://a.example/path"],
      }),
    (error) => {
      assert.ok(isSluiceError(error, "INVALID_OPTIONS"));
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ["checkBacks.a b", "checkBacks.c", "checkBacks.d", "checkBackOrigins[0]"],
      );
      return true;
    },
  );
  const [left] = await here.sql`select count(*)::int as halves from sluice.half_message`;
  assert.equal(left?.["halves"], 0);
});
