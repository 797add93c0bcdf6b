import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, fixed, isSluiceError, logging, type Middleware, topic, tracing } from "sluice";
import { z } from "zod";
import { caughtUp, Inbox, recordingLogger, world } from "./harness.ts";

const tasks = topic("tasks", { schema: z.object({ number: z.number() }), partitions: 1 });

function naming(name: string, seen: string[]): Middleware {
  return async (c, next) => {
    seen.push(`${name} in, attempt ${c.attempt}`);
    try {
      await next();
    } catch (error) {
      seen.push(`${name} sees ${(error as Error).message}`);
      throw error;
    }
    seen.push(`${name} out`);
  };
}

test("[A4] middlewares wrap every handing-over, the app's first; what the handler throws travels outward", async () => {
  await using here = await world();
  const seen: string[] = [];
  const done = new Inbox<number>();
  const working = consumer(tasks, {
    group: "workers",
    retry: { backoff: fixed("5ms") },
    use: [naming("own", seen)],
    handler: (c) => {
      seen.push("handler");
      if (c.attempt === 1) throw new Error("the first time");
      done.add(c.value.number);
    },
  });
  await using running = await here.start(app({ consumers: [working], use: [naming("app", seen)] }));
  await running.sluice.send(tasks, { number: 0 });
  await done.until(1);
  await caughtUp(here.sql, "workers");
  assert.deepEqual(seen, [
    ...["app in, attempt 1", "own in, attempt 1", "handler", "own sees the first time", "app sees the first time"],
    ...["app in, attempt 2", "own in, attempt 2", "handler", "own out", "app out"],
  ]);
});

test("[A4] a middleware decides: it leaves the handler out, calls verbs, opens the transaction, or fails", async () => {
  await using here = await world();
  const handled = new Inbox<number>();
  const deciding: Middleware<{ number: number }> = async (c, next) => {
    if (c.value.number === 0) return;
    if (c.value.number === 1) {
      c.reject("not for us");
      return;
    }
    if (c.value.number === 2) throw new Error("broken middleware");
    if (c.value.number === 3) {
      await next();
      await next();
    }
    await c.tx();
    await next();
  };
  const working = consumer(tasks, {
    group: "workers",
    retry: { attempts: 1 },
    use: [deciding],
    handler: (c) => handled.add(c.value.number),
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.sendBatch(
    tasks,
    [0, 1, 2, 3, 4].map((number) => ({ number })),
  );
  assert.deepEqual(await handled.until(2), [3, 4]);
  await caughtUp(here.sql, "workers");
  const letters = await here.sql`select "offset"::int as at, reason, error from sluice.dead_letters order by "offset"`;
  assert.deepEqual(
    letters.map((letter) => ({ ...letter })),
    [
      { at: 1, reason: "rejected", error: "not for us" },
      { at: 2, reason: "exhausted", error: "Error: broken middleware" },
      { at: 3, reason: "exhausted", error: "SluiceError: a middleware called next() twice" },
    ],
  );
});

test("[A4] logging and tracing see what became of each handing-over, a timeout too", async () => {
  await using here = await world();
  const logger = recordingLogger();
  const spans: Record<string, unknown>[] = [];
  const tracer = {
    startActiveSpan<Result>(
      name: string,
      options: object,
      run: (span: {
        setAttribute: (key: string, value: string | number) => unknown;
        setStatus: (status: object) => unknown;
        recordException: (error: Error) => void;
        end: () => void;
      }) => Result,
    ): Result {
      const span: Record<string, unknown> = { name, ...options };
      return run({
        setAttribute: (key, value) => Object.assign(span, { [key]: value }),
        setStatus: (status) => Object.assign(span, { status }),
        recordException: (error) => Object.assign(span, { error }),
        end: () => spans.push(span),
      });
    },
  };
  const working = consumer(tasks, {
    group: "workers",
    timeout: "50ms",
    retry: { attempts: 1 },
    handler: (c) => {
      if (c.value.number === 1) c.reject("no");
      if (c.value.number === 2) throw new Error("failed");
      return c.value.number === 3 ? new Promise<void>(() => undefined) : undefined;
    },
  });
  const use = [logging({ logger }), tracing({ tracer })];
  await using running = await here.start(app({ consumers: [working], use }));
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  for (const number of [0, 1, 2, 3]) {
    await running.sluice.send(tasks, { number }, number === 0 ? { headers: { traceparent } } : {});
  }
  await caughtUp(here.sql, "workers");
  const expected = ["done", "reject", "failed", "timeout"];
  assert.deepEqual(
    logger.lines.map(({ level, fields }) => [level, fields["offset"], fields["outcome"]]),
    expected.map((outcome, offset) => ["debug", offset, outcome]),
  );
  assert.deepEqual(
    spans.map((span) => span["sluice.outcome"]),
    expected,
  );
  assert.ok(isSluiceError(spans[3]?.["error"], "HANDLER_TIMEOUT"));
  const links = spans[0]?.["links"] as { context: { traceId: string } }[];
  assert.deepEqual(
    links.map((link) => link.context.traceId),
    ["0af7651916cd43dd8448eb211c80319c"],
  );
});

test("[A4] a list of middlewares that is none is refused with everything else", () => {
  assert.throws(
    () => app({ use: [7] as never, lease: "1ms" }),
    (error) => isSluiceError(error, "INVALID_OPTIONS") && error.problems.some(({ path }) => path === "use"),
  );
});
