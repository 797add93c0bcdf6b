import assert from "node:assert/strict";
import { test } from "node:test";
import { sql } from "drizzle-orm";
import { app, consumer, fixed, type HandlerContext, isSluiceError, silentLogger, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, recordingLogger, type World, world } from "./harness.ts";

const tasks = topic("tasks", { schema: z.object({ number: z.number() }), partitions: 1 });
const results = topic("results", { schema: z.object({ from: z.number() }), partitions: 1 });

type Context = HandlerContext<{ number: number }>;

async function deadLetters(here: World) {
  const rows = await here.sql<{ offset: number; reason: string; error: string; attempts: number }[]>`
    select "offset"::int as "offset", reason, error, attempts from sluice.dead_letters order by "offset"`;
  return rows.map((row) => ({ ...row }));
}

test("[Q10] retry tries again after the time it names, counts as an attempt, and keeps its reason", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const working = consumer(tasks, {
    group: "workers",
    retry: { attempts: 3, backoff: fixed("1h") },
    handler: (c) => {
      seen.add(`${c.value.number} attempt ${c.attempt}`);
      if (c.value.number === 0) c.retry({ after: "5ms", reason: "the shop is closed" });
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.sendBatch(tasks, [{ number: 0 }, { number: 1 }]);
  assert.deepEqual(await seen.until(4), ["0 attempt 1", "0 attempt 2", "0 attempt 3", "1 attempt 1"]);
  assert.deepEqual(await deadLetters(here), [
    { offset: 0, reason: "exhausted", error: "Error: c.retry() was called: the shop is closed", attempts: 3 },
  ]);
});

test("[Q10] reject keeps the message as a dead letter at once, whatever onExhausted says, but drop drops it", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const declare = (onExhausted: "dead-letter" | "pause" | "drop") =>
    consumer(tasks, {
      group: onExhausted,
      onExhausted,
      handler: (c) => {
        if (c.value.number === 0) c.reject("no such\u0000 customer");
        else seen.add(onExhausted);
      },
    });
  const consumers = [declare("dead-letter"), declare("pause"), declare("drop")];
  await using running = await here.start(app({ consumers }));
  await running.sluice.sendBatch(tasks, [{ number: 0 }, { number: 1 }]);
  assert.deepEqual([...(await seen.until(3))].sort(), ["dead-letter", "drop", "pause"]);
  const letters = await here.sql`select "group", reason, error, attempts from sluice.dead_letters order by "group"`;
  const rejected = { reason: "rejected", error: "no such␀ customer", attempts: 1 };
  assert.deepEqual(
    letters.map((letter) => ({ ...letter })),
    ["dead-letter", "pause"].map((group) => ({ group, ...rejected })),
  );
});

test("[Q10] release hands over again without spending an attempt, and the partition waits for it", async () => {
  await using here = await world();
  const seen = new Inbox<string>();
  const working = consumer(tasks, {
    group: "workers",
    retry: { attempts: 1 },
    handler: (c) => {
      seen.add(`${c.value.number} attempt ${c.attempt}`);
      if (c.value.number === 0 && seen.items.length < 4) c.release("5ms");
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.sendBatch(tasks, [{ number: 0 }, { number: 1 }]);
  const first = "0 attempt 1";
  assert.deepEqual(await seen.until(5), [first, first, first, first, "1 attempt 1"]);
  await caughtUp(here.sql, "workers");
  assert.deepEqual(await deadLetters(here), []);
});

test("[Q10] a message that is put off for days holds up neither the end of the app nor that of the process", async () => {
  await using here = await world();
  const seen = new Inbox<number>();
  const keyed = consumer(tasks, {
    group: "keyed",
    mode: "keyed",
    handler: (c) => {
      c.release("7d");
      seen.add(c.value.number);
    },
  });
  const running = await here.start(app({ consumers: [keyed] }));
  await running.sluice.sendBatch(tasks, [{ number: 0 }, { number: 1 }]);
  await seen.until(2);
  assert.equal(await running.close(), true);
});

test("[Q10] the first verb wins: a second one and one after the end are refused, and a throw changes nothing", async () => {
  await using here = await world();
  const logger = recordingLogger();
  const refusals: unknown[] = [];
  const kept = new Inbox<Context>();
  const refused = (call: () => unknown) => {
    try {
      call();
      refusals.push("not refused");
    } catch (error) {
      refusals.push(error);
    }
  };
  const late = [
    (c: Context) => c.retry(),
    (c: Context) => c.reject("again"),
    (c: Context) => c.release(),
    (c: Context) => c.send(results, { from: 1 }),
  ];
  const working = consumer(tasks, {
    group: "workers",
    handler: (c) => {
      assert.equal(c.verb, undefined);
      c.reject("first");
      assert.equal(c.verb, "reject");
      for (const verb of late) refused(() => verb(c));
      kept.add(c);
      throw new Error("and then it threw");
    },
  });
  await using running = await here.start(app({ topics: [results], consumers: [working] }), { logger });
  await running.sluice.send(tasks, { number: 0 });
  const [context] = await kept.until(1);
  await caughtUp(here.sql, "workers");
  assert.ok(context);
  for (const verb of [...late, (c: Context) => c.extend("1s")]) refused(() => verb(context));
  assert.equal(refusals.length, 9);
  for (const refusal of refusals) assert.ok(isSluiceError(refusal, "HANDLER_MISUSE"), String(refusal));
  await assert.rejects(async () => await context.commit(), { code: "HANDLER_MISUSE" });
  await assert.rejects(async () => await context.tx(), { code: "CLOSED" });
  assert.deepEqual(await deadLetters(here), [{ offset: 0, reason: "rejected", error: "first", attempts: 1 }]);
  const line = logger.lines.find(({ message }) => message === "a handler threw after a verb; the verb stands");
  assert.ok(line);
  assert.equal(line.level, "debug");
  assert.equal((line.fields["error"] as Error).message, "and then it threw");
});

test("[Q10] c.commit() decides too: no verb comes after it", async () => {
  await using here = await world();
  const refusals = new Inbox<unknown>();
  const working = consumer(tasks, {
    group: "workers",
    handler: async (c) => {
      await c.commit();
      try {
        c.retry();
      } catch (error) {
        refusals.add(error);
      }
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.send(tasks, { number: 0 });
  const [refusal] = await refusals.until(1);
  assert.ok(isSluiceError(refusal, "HANDLER_MISUSE"));
});

test("[Q10] what is no duration and no reason is refused, and decides nothing", async () => {
  await using here = await world();
  const refusals = new Inbox<unknown>();
  const wrong: ((c: Context) => void)[] = [
    (c) => c.retry("soon" as "1s"),
    (c) => c.retry({ after: "8d" }),
    (c) => c.release(-1),
    (c) => c.reject(" "),
    (c) => c.reject(undefined as unknown as string),
    (c) => c.extend("2h"),
  ];
  const working = consumer(tasks, {
    group: "workers",
    handler: (c) => {
      for (const call of wrong) {
        try {
          call(c);
        } catch (error) {
          refusals.add(error);
        }
      }
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.send(tasks, { number: 0 });
  for (const refusal of await refusals.until(wrong.length)) assert.ok(isSluiceError(refusal, "INVALID_OPTIONS"));
  await caughtUp(here.sql, "workers");
});

test("[Q10][N1] a verb rolls back what the handler wrote and sent", async () => {
  await using here = await world();
  await here.sql`create table effects (number integer not null, attempt integer not null)`;
  const verbs = [(c: Context) => c.retry("5ms"), (c: Context) => c.release("5ms"), (c: Context) => c.reject("no")];
  let calls = 0;
  const working = consumer(tasks, {
    group: "workers",
    handler: async (c) => {
      const tx = await c.tx();
      await tx.execute(sql`insert into effects values (${c.value.number}, ${c.attempt})`);
      c.send(results, { from: c.value.number });
      if (c.value.number === 0) verbs[calls++]?.(c);
    },
  });
  await using running = await here.start(app({ topics: [results], consumers: [working] }));
  await running.sluice.sendBatch(tasks, [{ number: 0 }, { number: 1 }]);
  const sent = await eventually("the result of the second is in the log", async () => {
    const rows = await here.sql`select (value->>'from')::int as sender from topics.results`;
    return rows.length > 0 ? rows.map((row) => row["sender"]) : undefined;
  });
  assert.deepEqual(sent, [1]);
  const effects = await here.sql`select number, attempt from effects`;
  assert.deepEqual(
    effects.map((row) => ({ ...row })),
    [{ number: 1, attempt: 1 }],
  );
  assert.deepEqual(await deadLetters(here), [{ offset: 0, reason: "rejected", error: "no", attempts: 2 }]);
});

test("[Q10] c.send is held back until the handler ends well, and is in the log before the message is done", async () => {
  await using here = await world();
  const [before, sent] = [new Inbox<number>(), new Inbox<string>()];
  const working = consumer(tasks, {
    group: "workers",
    retry: { backoff: fixed("5ms") },
    handler: async (c) => {
      for (const number of count(3)) c.send(results, { from: number }, { headers: { attempt: String(c.attempt) } });
      const [row] = await here.sql<{ messages: number }[]>`select count(*)::int as messages from topics.results`;
      before.add(row?.messages ?? -1);
      if (c.attempt === 1) throw new Error("after it was sent");
    },
  });
  const reading = consumer(results, {
    group: "readers",
    handler: (c) => sent.add(`${c.value.from} of attempt ${c.headers["attempt"]}`),
  });
  await using running = await here.start(app({ consumers: [working, reading] }));
  await running.sluice.send(tasks, { number: 0 });
  assert.deepEqual(
    await sent.until(3),
    count(3).map((number) => `${number} of attempt 2`),
  );
  assert.deepEqual(before.items, [0, 0]);
  await caughtUp(here.sql, "readers");
  assert.equal(sent.items.length, 3);
});

test("[Q10] a send that fails is a failed attempt; one that cannot be sent is told at once", async () => {
  await using here = await world();
  const refusals = new Inbox<unknown>();
  await (await here.connect({ topics: [tasks] })).close();
  const working = consumer(tasks, {
    group: "workers",
    retry: { attempts: 2, backoff: fixed("5ms") },
    handler: (c) => {
      try {
        c.send(results, { from: "text" } as never);
      } catch (error) {
        refusals.add(error);
      }
      // The topic is not there, and this app may not make it.
      c.send(results, { from: 1 });
    },
  });
  await using running = await here.start(app({ consumers: [working] }), { createTopics: false });
  await running.sluice.send(tasks, { number: 0 });
  for (const refusal of await refusals.until(2)) assert.ok(isSluiceError(refusal, "INVALID_VALUE"));
  const [letter] = await eventually("it is a dead letter", async () => {
    const letters = await deadLetters(here);
    return letters.length > 0 ? letters : undefined;
  });
  assert.equal(letter?.attempts, 2);
  assert.match(letter?.error ?? "", /results/);
});

test("[Q10] c.send takes 2,000 messages of one handing-over and no more", async () => {
  await using here = await world();
  const refusals = new Inbox<unknown>();
  const working = consumer(tasks, {
    group: "workers",
    handler: (c) => {
      for (const number of count(2_000)) c.send(results, { from: number });
      try {
        c.send(results, { from: 2_000 });
      } catch (error) {
        refusals.add(error);
      }
    },
  });
  await using running = await here.start(app({ topics: [results], consumers: [working] }));
  await running.sluice.send(tasks, { number: 0 });
  const [refusal] = await refusals.until(1);
  assert.ok(isSluiceError(refusal, "BUFFER_FULL"));
  await caughtUp(here.sql, "workers");
  const [row] = await here.sql`select count(*)::int as messages from topics.results`;
  assert.equal(row?.["messages"], 2_000);
});

test("[Q10] whatever a handler throws is one failed attempt with an error that can be read", async () => {
  await using here = await world();
  const cyclic = new Error("cyclic");
  cyclic.cause = cyclic;
  const hostile = {
    toString() {
      throw new Error("never ask me");
    },
    get message() {
      throw new Error("never ask me either");
    },
  };
  class Unreadable extends Error {
    override get message(): string {
      throw new Error("never ask me");
    }
  }
  const odd = "a value that is no Error was thrown:";
  const thrown: [unknown, string][] = [
    ["a text\u0000 with NUL", "Error: a text␀ with NUL"],
    [undefined, `Error: ${odd} undefined`],
    [null, `Error: ${odd} object`],
    [cyclic, "Error: cyclic"],
    [hostile, `Error: ${odd} object`],
    [new Unreadable(), `Error: ${odd} object`],
    [new TypeError("of its own kind"), "TypeError: of its own kind"],
  ];
  const declare = (group: string, isAsync: boolean) =>
    consumer(tasks, {
      group,
      retry: { attempts: 1 },
      handler: (c) => {
        const [what] = thrown[c.value.number] ?? [];
        if (isAsync) return Promise.reject(what);
        throw what;
      },
    });
  // Something that is no promise and does not want to be looked at.
  const looked = consumer(tasks, {
    group: "looked at",
    retry: { attempts: 1 },
    handler: () =>
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested
      Object.defineProperty({}, "then", {
        get() {
          throw new Error("do not look");
        },
      }) as Promise<void>,
  });
  const consumers = [declare("sync", false), declare("async", true), looked];
  await using running = await here.start(app({ consumers }), { logger: silentLogger });
  await running.sluice.sendBatch(
    tasks,
    count(thrown.length).map((number) => ({ number })),
  );
  for (const { group } of consumers) await caughtUp(here.sql, group);
  const texts = async (group: string) =>
    (await here.sql`select error from sluice.dead_letters where "group" = ${group} order by "offset"`).map(
      (row) => row["error"],
    );
  const expected = thrown.map(([, text]) => text);
  assert.deepEqual(await texts("sync"), expected);
  assert.deepEqual(await texts("async"), expected);
  assert.deepEqual(
    await texts("looked at"),
    thrown.map(() => "Error: do not look"),
  );
});
