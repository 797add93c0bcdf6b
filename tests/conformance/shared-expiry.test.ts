import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, fixed, topic } from "sluice";
import { z } from "zod";
import { eventually, Inbox, letTimePass, type World, workedOff, world } from "./harness.ts";

const quotes = topic("quotes", { schema: z.object({ name: z.string() }), partitions: 1, timeToLive: "1ms" });

type Quote = { name: string };

function trading(options: Partial<ConsumerOptions<Quote>> & Pick<ConsumerOptions<Quote>, "handler">) {
  return app({ consumers: [consumer(quotes, { group: "trading", mode: "shared", ...options })] });
}

/** Three messages of which two have expired before anybody comes. */
async function sendThree(here: World): Promise<void> {
  await using sluice = await here.connect();
  await sluice.send(quotes, { name: "gone" }, { key: "k" });
  await sluice.send(quotes, { name: "kept" }, { timeToLive: "1h" });
  await sluice.send(quotes, { name: "gone too" }, { timeToLive: "2ms" });
  await letTimePass(here.sql, 10);
}

test("[Q2] what has expired is handed to no member of a shared group; dropped, or kept as expired", async () => {
  for (const onExpired of ["drop", "dead-letter"] as const) {
    await using here = await world();
    const seen = new Inbox<string>();
    await sendThree(here);
    await using running = await here.start(trading({ onExpired, handler: (c) => seen.add(c.value.name) }));
    await seen.until(1);
    await workedOff(here.sql, "trading");
    assert.deepEqual(seen.items, ["kept"]);
    const letters =
      await here.sql`select "offset"::int, key, value->>'name' as name, reason, attempts from sluice.dead_letters order by 1`;
    assert.deepEqual(
      letters.map((letter) => ({ ...letter })),
      onExpired === "drop"
        ? []
        : [
            { offset: 0, key: "k", name: "gone", reason: "expired", attempts: 0 },
            { offset: 2, key: null, name: "gone too", reason: "expired", attempts: 0 },
          ],
    );
    void running;
  }
});

test("[Q2] one that expires before a further attempt is not handed over again, and its letter says how often it was", async () => {
  await using here = await world();
  const seen = new Inbox<number>();
  await using running = await here.start(
    trading({
      onExpired: "dead-letter",
      retry: { attempts: 5, backoff: fixed("1200ms") },
      handler: (c) => {
        seen.add(c.attempt);
        throw new Error("no");
      },
    }),
  );
  await running.sluice.send(quotes, { name: "late" }, { timeToLive: "1s" });
  await seen.until(1);
  await eventually("it is a dead letter", async () =>
    (await here.sql`select from sluice.dead_letters`).length > 0 ? true : undefined,
  );
  const letters = await here.sql`select reason, attempts from sluice.dead_letters`;
  assert.deepEqual([...letters], [{ reason: "expired", attempts: 1 }]);
  assert.deepEqual(seen.items, [1]);
  await workedOff(here.sql, "trading");
});

test("[Q2] who has lost a lease keeps no letter of what expired in it", async () => {
  await using here = await world();
  const [reached, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const holding = await here.start(
    trading({
      concurrency: 1,
      onExpired: "dead-letter",
      handler: async () => {
        reached.resolve();
        await held.promise;
      },
    }),
  );
  await using sluice = await here.connect();
  await sluice.sendBatch(quotes, [{ name: "held" }, { name: "behind it" }], { timeToLive: "2s" });
  await reached.promise;
  await using next = await here.start(trading({ handler: () => undefined }));
  await here.sql`select sluice.expire_lease(lease) from (select lease from sluice.pending order by lease) held`;
  await workedOff(here.sql, "trading");
  await letTimePass(here.sql, 2_000);
  held.resolve();
  await holding.close();
  assert.deepEqual([...(await here.sql`select from sluice.dead_letters`)], []);
  void next;
});
