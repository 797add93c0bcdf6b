import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerMode, type ConsumerOptions, consumer, fixed, topic } from "sluice";
import { z } from "zod";
import { eventually, Inbox, letTimePass, type World, world } from "./harness.ts";

const quotes = topic("quotes", { schema: z.string(), partitions: 1, key: (quote) => quote, timeToLive: "1h" });
const modes = ["ordered", "keyed", "shared", "broadcast"] as const;

type Handed = readonly [value: string, attempt: number];

/** A consumer whose handler fails at everything for the first time. */
function trading(seen: Inbox<Handed>, options: Partial<ConsumerOptions<string>>) {
  const handler: ConsumerOptions<string>["handler"] = (c) => {
    seen.add([c.value, c.attempt]);
    if (c.attempt === 1) throw new Error("not the first time");
  };
  return app({ consumers: [consumer(quotes, { group: "trading", onExpired: "dead-letter", handler, ...options })] });
}

/** Resolves with the group's letters once there are so many. */
function letters(here: World, count: number) {
  return eventually(`${count} dead letters`, async () => {
    const rows = await here.sql`select value #>> '{}' as value, reason, attempts from sluice.dead_letters`;
    return rows.length >= count ? rows.map((row) => ({ ...row })) : undefined;
  });
}

for (const mode of modes) {
  test(`[Q2] what expires while it waits for its next attempt is not handed over again, and what lives on is (${mode})`, async () => {
    await using here = await world();
    const seen = new Inbox<Handed>();
    await using running = await here.start(
      trading(seen, { mode, start: "earliest", retry: { attempts: 5, backoff: fixed("1500ms") } }),
    );
    await running.sluice.send(quotes, "short", { timeToLive: "1s" });
    await running.sluice.send(quotes, "long");
    assert.deepEqual(await letters(here, 1), [{ value: "short", reason: "expired", attempts: 1 }]);
    const handed = await seen.until(3);
    assert.deepEqual(handed.map((one) => one.join(" ")).toSorted(), ["long 1", "long 2", "short 1"]);
    await eventually("nothing waits any more", async () => {
      const rows = await here.sql`select from sluice.retries union all select from sluice.shared_retries`;
      return rows.length === 0 ? true : undefined;
    });
  });
}

// A broadcast has nobody to redrive to.
for (const mode of ["ordered", "keyed", "shared"] as const) {
  test(`[Q2] a message that is redriven has had its time and does not expire (${mode})`, async () => {
    await using here = await world();
    const seen = new Inbox<Handed>();
    const options = { mode, retry: { attempts: 1 }, onExpired: "drop" } as const;
    const failing = await here.start(trading(seen, options));
    await failing.sluice.send(quotes, "short", { timeToLive: "300ms" });
    const [letter] = await letters(here, 1);
    assert.equal(letter?.["reason"], "exhausted");
    await failing.close();
    await letTimePass(here.sql, 400);
    await using running = await here.start(
      trading(seen, { ...options, retry: { attempts: 2, backoff: fixed("10ms") } }),
    );
    await running.sluice.deadLetters.redriveGroup("trading");
    assert.deepEqual(await seen.until(3), [
      ["short", 1],
      ["short", 1],
      ["short", 2],
    ]);
  });
}

/** A message fails, its process ends, and it expires before the next process comes: what that one is handed, and why it is dead. */
async function afterARestart(here: World, mode: ConsumerMode): Promise<readonly [reason: unknown, handed: number]> {
  const [seen, later] = [new Inbox<Handed>(), new Inbox<Handed>()];
  const options = { mode, retry: { attempts: 2, backoff: fixed("900ms") } };
  const first = await here.start(trading(seen, options));
  await first.sluice.send(quotes, "short", { timeToLive: "700ms" });
  await seen.until(1);
  await eventually("it waits for its next attempt", async () => {
    const rows = await here.sql`select from sluice.retries union all select from sluice.shared_retries`;
    return rows.length > 0 ? true : undefined;
  });
  await first.close();
  await letTimePass(here.sql, 800);
  const handler: ConsumerOptions<string>["handler"] = (c) => {
    later.add([c.value, c.attempt]);
    c.reject("no");
  };
  await using _next = await here.start(trading(later, { ...options, handler }));
  const [letter] = await letters(here, 1);
  return [letter?.["reason"], later.items.length];
}

for (const mode of ["ordered", "keyed", "shared"] as const) {
  test(`[Q2] how long a message lives outlasts the process in which it failed (${mode})`, async () => {
    await using here = await world();
    assert.deepEqual(await afterARestart(here, mode), ["expired", 0]);
  });
}

test("the check sees a retry that forgets when its message entered the log", async () => {
  await using here = await world();
  await here.sql.unsafe(`
    create function forget() returns trigger language plpgsql as $$
    begin new.appended_at := null; new.time_to_live_ms := null; return new; end $$;
    create trigger forget before insert on sluice.retry for each row execute function forget()`);
  assert.deepEqual(await afterARestart(here, "keyed"), ["rejected", 1]);
});
