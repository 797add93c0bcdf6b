import assert from "node:assert/strict";
import { test } from "node:test";
import { sql } from "drizzle-orm";
import { app, consumer, fixed, isSluiceError, limits, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, type World, world } from "./harness.ts";

const prices = topic("prices", {
  schema: z.object({ article: z.string() }),
  replies: z.object({ price: z.number(), by: z.string().optional() }),
  partitions: 2,
});

const priced = (article: string) => article.length * 10;

/** Everything that was answered, as SQL shows it. */
async function replies(here: World) {
  const rows = await here.sql<{ value: unknown; failure: string | null; dropped: number }[]>`
    select value, failure, dropped from sluice.replies order by replied_at`;
  return rows.map((row) => ({ ...row }));
}

for (const mode of ["ordered", "keyed", "shared", "broadcast"] as const) {
  test(`[Q7][Q8] a request resolves with what a handler answers, in another process or in its own (${mode})`, async () => {
    await using here = await world();
    const answering = consumer(prices, {
      group: "pricing",
      mode,
      handler: async (c) => {
        if (c.value.article === "exact") await c.tx();
        assert.equal(c.reply({ price: priced(c.value.article) }), true);
      },
    });
    await using running = await here.start(app({ consumers: [answering] }));
    await using elsewhere = await here.connect();
    assert.deepEqual(await elsewhere.request(prices, { article: "ball" }, { timeout: "20s" }), { price: 40 });
    assert.deepEqual(await elsewhere.request(prices, { article: "exact" }, { timeout: "20s" }), { price: 50 });
    const own = count(20).map((number) => running.sluice.request(prices, { article: "x".repeat(number) }));
    assert.deepEqual(
      await Promise.all(own),
      count(20).map((number) => ({ price: number * 10 })),
    );
  });
}

test("[Q7] with c.tx() the answer commits with what the handler wrote, and a batch answers message by message", async () => {
  await using here = await world();
  await here.sql`create table asked (article text not null)`;
  const answering = consumer(prices, {
    group: "pricing",
    mode: "keyed",
    batch: { size: 8, wait: "20ms" },
    batchHandler: async (batch) => {
      const tx = await batch.tx();
      for (const c of batch.messages) {
        await tx.execute(sql`insert into asked values (${c.value.article})`);
        c.reply({ price: priced(c.value.article) });
      }
    },
  });
  await using running = await here.start(app({ consumers: [answering] }));
  const asked = count(12).map((number) => running.sluice.request(prices, { article: "x".repeat(number) }));
  assert.deepEqual(
    await Promise.all(asked),
    count(12).map((number) => ({ price: number * 10 })),
  );
  const [row] = await here.sql`select count(*)::int as articles from asked`;
  assert.equal(row?.["articles"], 12);
});

test("[Q7] an answer is seen no earlier than what its handler committed, and never when its transaction rolls back", async () => {
  await using here = await world();
  await here.sql`create table asked (article text not null, constraint no_second check (article <> 'first'))`;
  const answering = consumer(prices, {
    group: "pricing",
    retry: { attempts: 2, backoff: fixed("5ms") },
    handler: async (c) => {
      const tx = await c.tx();
      c.reply({ price: c.attempt });
      // Refused by the table the first time: the answer of that attempt must not be heard.
      await tx.execute(sql`insert into asked values (${c.attempt === 1 ? "first" : "second"})`);
    },
  });
  await using running = await here.start(app({ consumers: [answering] }));
  assert.deepEqual(await running.sluice.request(prices, { article: "ball" }), { price: 2 });
  assert.deepEqual(await replies(here), [{ value: { price: 2 }, failure: null, dropped: 0 }]);
  assert.equal((await here.sql`select from asked`).length, 1);
});

test("[Q7] the first answer of several groups counts, and the others are dropped and counted", async () => {
  await using here = await world();
  const [first, late] = [new Inbox<string>(), new Inbox<string>()];
  const asked = Promise.withResolvers<void>();
  const consumers = [
    consumer(prices, {
      group: "quick",
      handler: (c) => {
        c.reply({ price: 1, by: "quick" });
        first.add(c.id);
      },
    }),
    consumer(prices, {
      group: "slow",
      handler: async (c) => {
        await asked.promise;
        c.reply({ price: 2, by: "slow" });
        late.add(c.id);
      },
    }),
  ];
  await using running = await here.start(app({ consumers }));
  assert.deepEqual(await running.sluice.request(prices, { article: "ball" }), { price: 1, by: "quick" });
  asked.resolve();
  await late.until(1);
  await caughtUp(here.sql, "slow");
  assert.deepEqual(await replies(here), [{ value: { price: 1, by: "quick" }, failure: null, dropped: 1 }]);
  assert.deepEqual(first.items, late.items);
});

test("[Q7] who asks in vain hears of it: at once when the message is given up, else when the time is over", async () => {
  await using here = await world();
  const misfits = topic("prices", { schema: z.object({ article: z.number() }), replies: z.number(), partitions: 2 });
  const handled = new Inbox<string>();
  const answering = consumer(prices, {
    group: "pricing",
    mode: "keyed",
    retry: { attempts: 2, backoff: fixed("5ms") },
    handler: (c) => {
      handled.add(c.value.article);
      if (c.value.article === "throws") throw new Error("no such article: top secret");
      if (c.value.article === "rejects") c.reject("no such article: top secret");
    },
  });
  await using running = await here.start(app({ consumers: [answering] }));
  const { request } = running.sluice;
  const failure = async (asked: Promise<unknown>) => {
    const error: unknown = await asked.then(
      () => assert.fail("it was answered"),
      (thrown: unknown) => thrown,
    );
    assert.ok(isSluiceError(error), String(error));
    assert.doesNotMatch(error.message, /secret/);
    return [error.code, error.reason];
  };
  assert.deepEqual(await failure(request(prices, { article: "throws" })), ["REQUEST_FAILED", "exhausted"]);
  assert.deepEqual(await failure(request(prices, { article: "rejects" })), ["REQUEST_FAILED", "rejected"]);
  await using other = await here.connect();
  assert.deepEqual(await failure(other.request(misfits, { article: 1 })), ["REQUEST_FAILED", "schema"]);
  const late = request(prices, { article: "silent" }, { timeout: "50ms" });
  assert.deepEqual(await failure(late), ["REQUEST_TIMEOUT", undefined]);
  const letters = await here.sql`select reason from sluice.dead_letters order by reason`;
  assert.deepEqual(
    letters.map(({ reason }) => reason),
    ["exhausted", "rejected", "schema"],
  );
  assert.ok(handled.items.includes("throws"));
});

for (const mode of ["shared", "broadcast"] as const) {
  test(`[Q7] a message that is given up is the requester's failure, dropped or kept (${mode})`, async () => {
    await using here = await world();
    const declare = (onExhausted: "drop" | "dead-letter") =>
      consumer(topic(onExhausted, { schema: z.string(), replies: z.string(), partitions: 1 }), {
        group: "pricing",
        mode,
        onExhausted,
        retry: { attempts: 2, backoff: fixed("5ms") },
        handler: (c) => {
          if (c.value === "rejects") c.reject("no");
          else throw new Error("no");
        },
      });
    const consumers = [declare("drop"), declare("dead-letter")];
    await using running = await here.start(app({ consumers }));
    for (const { topic: asked } of consumers) {
      const rejected = running.sluice.request(asked, "rejects");
      await assert.rejects(rejected, { code: "REQUEST_FAILED", reason: "rejected" });
      await assert.rejects(running.sluice.request(asked, "throws"), { code: "REQUEST_FAILED", reason: "exhausted" });
    }
  });
}

test("[Q7] a group that only looks on answers nothing: its failures are nobody's answer, and c.reply is refused", async () => {
  await using here = await world();
  const refusals = new Inbox<unknown>();
  const asked = Promise.withResolvers<void>();
  const consumers = [
    consumer(prices, {
      group: "audit",
      answers: false,
      handler: (c) => {
        try {
          c.reply({ price: 0 });
        } catch (error) {
          refusals.add(error);
        }
        c.reject("not for me");
      },
    }),
    consumer(prices, {
      group: "pricing",
      handler: async (c) => {
        await asked.promise;
        c.reply({ price: 7 });
      },
    }),
  ];
  await using running = await here.start(app({ consumers }));
  const answer = running.sluice.request(prices, { article: "ball" });
  await caughtUp(here.sql, "audit");
  asked.resolve();
  assert.deepEqual(await answer, { price: 7 });
  const [refusal] = await refusals.until(1);
  assert.ok(isSluiceError(refusal, "HANDLER_MISUSE"));
});

test("[Q7] the message lives no longer than its requester waits, unless it is told otherwise", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [prices] });
  const timedOut = { code: "REQUEST_TIMEOUT" };
  await assert.rejects(sluice.request(prices, { article: "forgotten" }, { timeout: "20ms" }), timedOut);
  const kept = sluice.request(prices, { article: "kept" }, { timeout: "20ms", timeToLive: "1h" });
  await assert.rejects(kept, timedOut);
  await eventually("both are in the log, and the time of one is over", async () => {
    const [row] = await here.sql<{ over: boolean }[]>`
      select count(*) = 2 and bool_and("timestamp" < clock_timestamp() - interval '100 ms') as over from topics.prices`;
    return row?.over === true ? true : undefined;
  });
  const handled = new Inbox<string>();
  const answering = consumer(prices, { group: "pricing", handler: (c) => handled.add(c.value.article) });
  await using _running = await here.start(app({ consumers: [answering] }));
  assert.deepEqual(await handled.until(1), ["kept"]);
  await caughtUp(here.sql, "pricing");
  assert.deepEqual(handled.items, ["kept"]);
});

test("[Q7] a message that expires before its turn is a failure at once for whoever still waits", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [prices] });
  const asked = sluice.request(prices, { article: "late" }, { timeout: "20s", timeToLive: "10ms" });
  const outcome = asked.then(
    () => "answered",
    (error: unknown) => error,
  );
  await eventually("the message is in the log and over its time", async () => {
    const rows = await here.sql`select from topics.prices where "timestamp" < clock_timestamp() - interval '50 ms'`;
    return rows.length > 0 ? true : undefined;
  });
  const answering = consumer(prices, { group: "pricing", handler: (c) => void c.reply({ price: 1 }) });
  await using _running = await here.start(app({ consumers: [answering] }));
  const error = await outcome;
  assert.ok(isSluiceError(error, "REQUEST_FAILED"), String(error));
  assert.equal(error.reason, "expired");
});

test("[Q7] a request is given up by its signal and by the connection's end, and refused where it cannot be meant", async () => {
  await using here = await world();
  const sluice = await here.connect();
  const stop = new AbortController();
  const stopped = sluice.request(prices, { article: "a" }, { signal: stop.signal });
  const reason = new Error("the browser has gone");
  stop.abort(reason);
  await assert.rejects(stopped, reason);
  await assert.rejects(sluice.request(prices, { article: "a" }, { signal: AbortSignal.abort(reason) }), reason);
  const silent = topic("silent", { schema: z.string() });
  const wrong = [
    sluice.request(prices, { article: "a" }, { timeout: "2h" }),
    sluice.request(prices, { article: "a" }, { timeout: "soon" as "1s" }),
    sluice.request(prices, { article: "a" }, { delay: "1s" } as object),
    sluice.request(prices, { article: "a" }, { acks: 0 } as object),
    sluice.request(prices, { article: "a" }, { headers: { "reply-to": "me" } }),
    sluice.request(prices, { article: "a" }, { signal: "none" as unknown as AbortSignal }),
    // @ts-expect-error: the topic declares no replies
    sluice.request(silent, "a"),
  ];
  for (const asked of wrong) await assert.rejects(asked, { code: "INVALID_OPTIONS" });
  await assert.rejects(sluice.request(prices, { article: 1 as unknown as string }), { code: "INVALID_VALUE" });
  const pending = sluice.request(prices, { article: "a" }).catch((error: unknown) => error);
  await sluice.close();
  assert.ok(isSluiceError(await pending, "CLOSED"));
  await assert.rejects(sluice.request(prices, { article: "a" }), { code: "CLOSED" });
});

test("[Q7] no more requests wait than may", async () => {
  await using here = await world();
  await using sluice = await here.connect({ topics: [prices] });
  const stop = new AbortController();
  const asked = count(limits.waitingRequests).map(() =>
    sluice.request(prices, { article: "a" }, { signal: stop.signal }).catch((error: unknown) => error),
  );
  await assert.rejects(sluice.request(prices, { article: "a" }), { code: "BUFFER_FULL" });
  stop.abort(new Error("enough"));
  assert.equal((await Promise.all(asked)).length, limits.waitingRequests);
});

test("[Q7] what answers must be is checked: at the handler, at the requester, and when it is declared", async () => {
  await using here = await world();
  const refusals = new Inbox<unknown>();
  const answers = topic("answers", { schema: z.string(), replies: z.string(), partitions: 1 });
  const silent = topic("silent", { schema: z.string(), partitions: 1 });
  const refused = (call: () => unknown) => {
    try {
      refusals.add(call());
    } catch (error) {
      refusals.add((error as { code?: string }).code);
    }
  };
  const consumers = [
    consumer(answers, {
      group: "g",
      handler: (c) => {
        refused(() => c.reply(1 as unknown as string));
        refused(() => c.reply("x".repeat(limits.valueBytes)));
        refused(() => c.reply("first"));
        refused(() => c.reply("second"));
      },
    }),
    consumer(silent, { group: "g", handler: (c) => refused(() => c.reply("what" as never)) }),
  ];
  await using running = await here.start(app({ consumers }));
  assert.equal(await running.sluice.request(answers, "a"), "first");
  assert.deepEqual(refusals.items, ["INVALID_VALUE", "RECORD_TOO_LARGE", true, "HANDLER_MISUSE"]);
  // Nobody asked: nothing happens, and the handler is told.
  await running.sluice.send(answers, "b");
  assert.deepEqual((await refusals.until(8)).slice(4), ["INVALID_VALUE", "RECORD_TOO_LARGE", false, false]);
  await running.sluice.send(silent, "c");
  assert.equal((await refusals.until(9))[8], "HANDLER_MISUSE");
  const numbers = topic("answers", { schema: z.string(), replies: z.number(), partitions: 1 });
  await using other = await here.connect();
  await assert.rejects(other.request(numbers, "d"), { code: "INVALID_VALUE" });
  assert.throws(() => topic("t", { schema: z.string(), replies: z.date() }), { code: "INVALID_OPTIONS" });
  assert.throws(() => consumer(silent, { group: "g", answers: true, handler: () => undefined }), /answers/);
});
