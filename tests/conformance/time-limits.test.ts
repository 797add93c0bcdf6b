import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { sql } from "drizzle-orm";
import { app, consumer, fixed, type HandlerTransaction, isSluiceError, topic } from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, world } from "./harness.ts";

const tasks = topic("tasks", {
  schema: z.object({ number: z.number() }),
  key: ({ number }) => String(number),
  partitions: 1,
});

const never = new Promise<void>(() => undefined);

function aborted(signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return Promise.resolve(signal.reason);
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));
}

test("[Q10] a handler that never ends is a failed attempt; its message dies, its neighbours go on, the app drains", async () => {
  for (const mode of ["ordered", "keyed"] as const) {
    await using here = await world();
    const [attempts, done] = [new Inbox<number>(), new Inbox<number>()];
    const working = consumer(tasks, {
      group: "workers",
      mode,
      timeout: "30ms",
      retry: { attempts: 2, backoff: fixed("5ms") },
      handler: (c) => {
        if (c.value.number !== 1) {
          done.add(c.value.number);
          return undefined;
        }
        attempts.add(c.attempt);
        return never;
      },
    });
    const running = await here.start(app({ consumers: [working], drain: "1h" }));
    await running.sluice.sendBatch(
      tasks,
      count(4).map((number) => ({ number })),
    );
    assert.deepEqual([...(await done.until(3))].sort(), [0, 2, 3]);
    await caughtUp(here.sql, "workers");
    assert.deepEqual(attempts.items, [1, 2]);
    const letters = await here.sql`select "offset"::int as at, reason, error, attempts from sluice.dead_letters`;
    assert.equal(letters.length, 1);
    assert.deepEqual([letters[0]?.["at"], letters[0]?.["reason"], letters[0]?.["attempts"]], [1, "exhausted", 2]);
    assert.match(letters[0]?.["error"], /did not end within its time limit \(30 ms/);
    assert.equal(await running.close(), true);
  }
});

test("[Q10] an app whose handler hangs drains within the time limit", async () => {
  await using here = await world();
  const begun = new Inbox<number>();
  const working = consumer(tasks, {
    group: "workers",
    timeout: "200ms",
    handler: (c) => {
      begun.add(c.value.number);
      return never;
    },
  });
  const running = await here.start(app({ consumers: [working], drain: "1h" }));
  await running.sluice.send(tasks, { number: 0 });
  await begun.until(1);
  assert.equal(await running.close(), true);
});

test("[Q10] when the time is over the signal says why, and what the handler does then has no effect", async () => {
  await using here = await world();
  await here.sql`create table effects (number integer not null)`;
  const late = new Inbox<unknown>();
  const ends = Promise.withResolvers<void>();
  const ended = new Inbox<string>();
  const working = consumer(tasks, {
    group: "workers",
    timeout: "100ms",
    retry: { attempts: 1 },
    handler: async (c) => {
      const tx: HandlerTransaction = await c.tx();
      await tx.execute(sql`insert into effects values (${c.value.number})`);
      const reason = await aborted(c.signal);
      assert.ok(isSluiceError(reason, "HANDLER_TIMEOUT"));
      const attempts: (() => unknown)[] = [() => c.release(), () => c.tx(), () => c.commit()];
      const settled = await Promise.allSettled(attempts.map(async (attempt) => await attempt()));
      for (const outcome of settled) late.add(outcome.status === "rejected" ? outcome.reason : outcome);
      // In every turn, also in those in which the ROLLBACK is sent and not answered: there the driver would run a statement
      // outside of any transaction.
      const writes: Promise<unknown>[] = [];
      for (const number of count(200)) {
        const write = async () => await tx.execute(sql`insert into effects values (${number})`);
        const nested = async () =>
          await tx.transaction((inner) => inner.execute(sql`insert into effects values (${number})`));
        writes.push(Promise.allSettled([write(), nested()]));
        await nextTurn();
      }
      await Promise.all(writes);
      await ends.promise;
      const last = async () => await tx.execute(sql`insert into effects values (1000)`);
      late.add(await last().catch((error: Error) => error.cause));
      ended.add("returned");
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.send(tasks, { number: 0 });
  await caughtUp(here.sql, "workers");
  ends.resolve();
  await ended.until(1);
  assert.deepEqual(
    late.items.map((error) => (isSluiceError(error) ? error.code : error)),
    ["HANDLER_MISUSE", "CLOSED", "HANDLER_MISUSE", "CLOSED"],
  );
  const [row] = await here.sql`select count(*)::int as effects from effects`;
  assert.equal(row?.["effects"], 0);
  const [letters] = await here.sql`select count(*)::int as letters from sluice.dead_letters`;
  assert.equal(letters?.["letters"], 1);
});

test("[Q10] c.extend gives more time; its neighbour of the same limit is over meanwhile", async () => {
  await using here = await world();
  const over = Promise.withResolvers<void>();
  const done = new Inbox<string>();
  const working = consumer(tasks, {
    group: "workers",
    mode: "keyed",
    timeout: "50ms",
    retry: { attempts: 1 },
    handler: async (c) => {
      if (c.value.number === 0) {
        c.extend("1h");
        await over.promise;
        assert.equal(c.signal.aborted, false);
        done.add(`${c.value.number} attempt ${c.attempt}`);
      } else {
        await aborted(c.signal);
        over.resolve();
      }
    },
  });
  await using running = await here.start(app({ consumers: [working] }));
  await running.sluice.sendBatch(tasks, [{ number: 0 }, { number: 1 }]);
  assert.deepEqual(await done.until(1), ["0 attempt 1"]);
  await caughtUp(here.sql, "workers");
  const letters = await here.sql`select key from sluice.dead_letters`;
  assert.deepEqual(
    letters.map((row) => row["key"]),
    ["1"],
  );
});

test("[Q10] without a limit the signal is the partition's, and c.extend changes nothing", async () => {
  await using here = await world();
  const done = new Inbox<boolean>();
  const plain = consumer(tasks, {
    group: "plain",
    handler: (c) => {
      c.extend("1m");
      done.add(c.signal.aborted);
    },
  });
  await using running = await here.start(app({ consumers: [plain] }));
  await running.sluice.send(tasks, { number: 0 });
  assert.deepEqual(await done.until(1), [false]);
});

test("[Q10] the signal of a limited handler hears of the drain's end, too", async () => {
  await using here = await world();
  const [begun, reasons] = [new Inbox<number>(), new Inbox<unknown>()];
  const working = consumer(tasks, {
    group: "workers",
    timeout: "1h",
    handler: async (c) => {
      const reason = aborted(c.signal);
      begun.add(1);
      reasons.add(await reason);
    },
  });
  const running = await here.start(app({ consumers: [working], drain: "50ms" }));
  await running.sluice.send(tasks, { number: 0 });
  await begun.until(1);
  assert.equal(await running.close(), false);
  const [reason] = await eventually("the handler was told", async () =>
    reasons.items.length > 0 ? reasons.items : undefined,
  );
  assert.ok(isSluiceError(reason, "DRAIN_TIMEOUT"));
});
