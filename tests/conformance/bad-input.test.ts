import assert from "node:assert/strict";
import { test } from "node:test";
import {
  app,
  bytes,
  connect,
  consumer,
  errorLine,
  exponential,
  isSluiceError,
  limits,
  type SluiceError,
  type Topic,
  topic,
} from "sluice";
import { z } from "zod";
import { Inbox, thrownBy, type World, world } from "./harness.ts";

const anything = topic("anything", { schema: z.any(), partitions: 1 });
const texts = topic("texts", { schema: z.object({ text: z.string() }), partitions: 1 });

const paths = (error: SluiceError) => error.problems.map((problem) => problem.path);

/** Sends and reads back, as a handler sees it and as text in SQL. */
async function roundTrip<Value>(
  here: World,
  to: Topic<Value>,
  value: Value,
): Promise<{ value: Value; stored: string }> {
  const inbox = new Inbox<Value>();
  const reading = consumer(to, { group: "reading", handler: (c) => inbox.add(c.value) });
  await using running = await here.start(app({ consumers: [reading] }));
  await running.sluice.send(to, value);
  const [received] = await inbox.until(1);
  const [row] = await here.sql<{ stored: string }[]>`select value::text as stored from topics.${here.sql(to.name)}`;
  return { value: received as Value, stored: row?.stored ?? "" };
}

async function refuses(here: World, value: unknown, path: string): Promise<SluiceError> {
  await using sluice = await here.connect();
  const error = await sluice.send(anything, value).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(isSluiceError(error, "INVALID_VALUE"), String(error));
  assert.deepEqual(paths(error), [path]);
  const [row] = await here.sql`select count(*)::int as messages from topics.anything`;
  assert.equal(row?.["messages"], 0);
  return error;
}

test("a topic that is declared badly is refused with every problem at once", () => {
  const error = thrownBy(() =>
    topic("no spaces", {
      schema: z.object({ at: z.date() }),
      partitions: 0,
      retention: { time: "soon" as never, bytes: -1 },
      segment: { time: "0s" },
      maxValueBytes: limits.valueBytes + 1,
      compression: "zip" as never,
      key: "id" as never,
    }),
  );
  assert.equal(error.code, "INVALID_OPTIONS");
  assert.deepEqual(paths(error).sort(), [
    "compression",
    "key",
    "maxValueBytes",
    "name",
    "partitions",
    "retention.bytes",
    "retention.time",
    "schema",
    "segment.time",
  ]);
  assert.equal(errorLine(error).includes("\n"), false);
});

test("a consumer that is declared badly is refused with every problem at once", () => {
  const error = thrownBy(() =>
    consumer(texts, {
      group: "",
      mode: "random" as never,
      concurrency: 0,
      retry: { attempts: 0, backoff: exponential("1 second" as never, "5m") },
      onExhausted: "explode" as never,
      start: "yesterday" as never,
      commit: "never" as never,
      commitInterval: "1ms",
      prefetch: 0.5,
      handler: undefined as never,
    }),
  );
  assert.deepEqual([...new Set(paths(error))].sort(), [
    "commit",
    "commitInterval",
    "concurrency",
    "group",
    "handler",
    "mode",
    "onExhausted",
    "prefetch",
    "retry.attempts",
    "retry.backoff",
    "start",
  ]);
});

test("an app that is declared badly is refused with every problem at once", () => {
  const twice = consumer(texts, { group: "same", handler: () => undefined });
  const other = topic("texts", { schema: z.string() });
  const error = thrownBy(() =>
    app({
      consumers: [twice, twice],
      topics: [other],
      lease: "2s",
      heartbeat: "3s",
      drain: "a while" as never,
      poll: -1,
      transactionConnections: 0,
    }),
  );
  assert.deepEqual([...new Set(paths(error))].sort(), [
    "consumers",
    "drain",
    "lease",
    "poll",
    "topics",
    "transactionConnections",
  ]);
});

test("a connection that is configured badly is refused with every problem at once, before it is tried", async () => {
  const attempt = connect({
    url: "",
    connections: 1,
    maxBufferedRecords: 0,
    maxBlock: "a bit" as never,
    deliveryTimeout: -5,
  });
  await assert.rejects(attempt, (error) => {
    assert.ok(isSluiceError(error, "INVALID_OPTIONS"));
    assert.deepEqual(paths(error).sort(), ["connections", "deliveryTimeout", "maxBlock", "maxBufferedRecords", "url"]);
    return true;
  });
});

test("a value, a key or headers over their limit are refused, and those at it are kept", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const small = topic("small", { schema: z.string(), partitions: 1, maxValueBytes: 100 });
  const tooLarge = (path: string) => (error: unknown) => {
    assert.ok(isSluiceError(error, "RECORD_TOO_LARGE"));
    assert.deepEqual(paths(error), [path]);
    return true;
  };
  // Two quotation marks belong to the JSON text; ü has two bytes.
  await sluice.send(small, "x".repeat(98));
  await sluice.send(small, "ü".repeat(49));
  await assert.rejects(sluice.send(small, "x".repeat(99)), tooLarge("value"));
  await assert.rejects(sluice.send(small, "ü".repeat(50)), tooLarge("value"));
  await sluice.send(texts, { text: "x".repeat(limits.valueBytes - '{"text":""}'.length) });
  await assert.rejects(sluice.send(texts, { text: "x".repeat(limits.valueBytes) }), tooLarge("value"));
  await sluice.send(small, "", { key: "k".repeat(limits.keyBytes) });
  await assert.rejects(sluice.send(small, "", { key: "ü".repeat(limits.keyBytes / 2 + 1) }), tooLarge("key"));
  const headers = (length: number) => ({ header: "h".repeat(length - '{"headers":{"header":""}}'.length) });
  await sluice.send(small, "", { headers: headers(limits.headersBytes) });
  await assert.rejects(sluice.send(small, "", { headers: headers(limits.headersBytes + 1) }), tooLarge("headers"));
  const [row] = await here.sql`
    select (select count(*) from topics.small)::int as small, (select count(*) from topics.texts)::int as texts`;
  assert.deepEqual({ ...row }, { small: 4, texts: 1 });
});

test("NUL and lone surrogates are refused in value, key and headers, with the path", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  const refusal = (path: string) => (error: unknown) => {
    assert.ok(isSluiceError(error, "INVALID_VALUE"), String(error));
    assert.deepEqual(paths(error), [path]);
    return true;
  };
  for (const broken of ["a\u0000b", "\ud800", "\udfff end"]) {
    await assert.rejects(sluice.send(texts, { text: broken }), refusal("text"));
    await assert.rejects(sluice.send(texts, { text: "" }, { key: broken }), refusal("key"));
    await assert.rejects(sluice.send(texts, { text: "" }, { headers: { name: broken } }), refusal("headers.name"));
    await assert.rejects(sluice.send(texts, { text: "" }, { headers: { [broken]: "" } }), refusal(`headers.${broken}`));
    await assert.rejects(sluice.send(anything, { list: [{ [broken]: 1 }] }), (error) =>
      isSluiceError(error, "INVALID_VALUE"),
    );
  }
  const kept = { text: "\u0001 \\u0000 \u001e 🦑 \u2028 \ufffd" };
  assert.deepEqual((await roundTrip(here, texts, kept)).value, kept);
  const [row] = await here.sql`select value->>'text' as text from topics.texts`;
  assert.equal(row?.["text"], kept.text);
});

test("a timestamp, a key and headers of the wrong kind are refused", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  for (const [options, path] of [
    [{ timestamp: 1.5 }, "timestamp"],
    [{ timestamp: Number.NaN }, "timestamp"],
    [{ key: 7 as never }, "key"],
    [{ headers: { count: 7 as never } }, "headers.count"],
  ] as const) {
    await assert.rejects(sluice.send(texts, { text: "" }, options), (error) => {
      assert.ok(isSluiceError(error, "INVALID_VALUE"));
      assert.deepEqual(paths(error), [path]);
      return true;
    });
  }
});

test("numbers: a double keeps its value beyond 2^53; an integer that SQL wrote arrives as the nearest double", async () => {
  await using here = await world();
  const doubles = [2 ** 53, 2 ** 53 + 2, 1e308, 5e-324, 0.1, -0.5, Number.MAX_SAFE_INTEGER];
  assert.deepEqual((await roundTrip(here, anything, doubles)).value, doubles);

  const inbox = new Inbox<unknown>();
  const reading = consumer(anything, { group: "second", start: "latest", handler: (c) => inbox.add(c.value) });
  await using running = await here.start(app({ consumers: [reading] }));
  await here.sql`select sluice.send('anything', '9007199254740993')`;
  assert.deepEqual(await inbox.until(1), [9007199254740992]);
  const [row] = await here.sql`select value::text as stored from topics.anything order by "offset" desc limit 1`;
  assert.equal(row?.["stored"], "9007199254740993", "the log keeps the spelling");
  void running;
});

test("NaN and infinities under z.any() arrive as null, as JSON has it; a number schema refuses them", async () => {
  await using here = await world();
  const { value, stored } = await roundTrip(here, anything, [Number.NaN, Number.POSITIVE_INFINITY, undefined]);
  assert.deepEqual(value, [null, null, null]);
  assert.equal(stored, "[null,null,null]");
  const numbers = topic("numbers", { schema: z.object({ number: z.number() }), partitions: 1 });
  await using sluice = await here.connect();
  for (const number of [Number.NaN, Number.NEGATIVE_INFINITY]) {
    await assert.rejects(sluice.send(numbers, { number }), (error) => isSluiceError(error, "INVALID_VALUE"));
  }
});

test("a bigint is refused with its path", async () => {
  await using here = await world();
  await refuses(here, { deep: [1, { big: 1n }] }, "deep[1].big");
});

test("a value that holds itself is refused", async () => {
  await using here = await world();
  const cyclic: Record<string, unknown> = { name: "loop" };
  cyclic["self"] = cyclic;
  await refuses(here, cyclic, "");
});

test("undefined, a function and a symbol have no JSON form and are refused", async () => {
  await using here = await world();
  for (const value of [undefined, () => 1, Symbol("s")]) await refuses(here, value, "");
});

test("null is a value like any other", async () => {
  await using here = await world();
  assert.deepEqual(await roundTrip(here, anything, null), { value: null, stored: "null" });
});

test("dates travel through z.codec, and z.date() is refused at the declaration", async () => {
  await using here = await world();
  const date = z.codec(z.iso.datetime(), z.date(), {
    decode: (text) => new Date(text),
    encode: (value) => value.toISOString(),
  });
  const dated = topic("dated", { schema: z.object({ at: date }), partitions: 1 });
  const at = new Date(Date.UTC(2001, 1, 3, 4, 5, 6, 7));
  assert.deepEqual(await roundTrip(here, dated, { at }), {
    value: { at },
    stored: '{"at":"2001-02-03T04:05:06.007Z"}',
  });
  const error = thrownBy(() => topic("undated", { schema: z.object({ at: z.date() }) }));
  assert.deepEqual(paths(error), ["schema"]);
  assert.match(error.message, /z\.codec\(/);
});

test("bytes() topics carry any bytes, show them as bytea, and refuse what is none", async () => {
  await using here = await world();
  const pictures = topic("pictures", { schema: bytes(), partitions: 1 });
  const picture = Uint8Array.from({ length: 256 }, (_, index) => index);
  const { value } = await roundTrip(here, pictures, picture);
  assert.deepEqual([...value], [...picture]);
  const [row] = await here.sql`
    select octet_length(value) as size, encode(value, 'hex') as hex from topics.pictures`;
  assert.equal(row?.["size"], 256);
  assert.equal(row?.["hex"], picture.toHex());
  await using sluice = await here.connect();
  await assert.rejects(sluice.send(pictures, "text" as never), (error) => isSluiceError(error, "INVALID_VALUE"));
  await assert.rejects(here.sql`select sluice.send('pictures', '{}')`, { code: "22023" });
  assert.equal((await sluice.send(pictures, new Uint8Array(0))).status, "appended");
});
