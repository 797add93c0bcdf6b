import { expect, setDefaultTimeout, test } from "bun:test";
import { DeadLetters, Groups, RedrivenMessages } from "@sluice/broker";
import { type AnyConsumer, consumer, fixed, type HandlerContext, type Topic } from "@sluice/contract";
import { eventually, isCommit, startProxy } from "@sluice/testkit";
import { sql as text } from "drizzle-orm";
import type postgres from "postgres";
import { during, killBackends, openRig, plant, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

const isMark = (statement: string) => statement.includes("sluice.mark_redriven");

type Handle = (context: HandlerContext<string>) => Promise<void>;

function writers(topic: Topic<string>, handler: Handle, mode: "ordered" | "keyed" = "keyed"): AnyConsumer {
  return consumer(topic, { group: "writers", mode, retry: { attempts: 1_000, backoff: fixed("2ms") }, handler });
}

/** Writes an effect in the transaction of the message. */
const writeEffect: Handle = async (context) => {
  const tx = await context.tx();
  await tx.execute(
    text`insert into public.effect (partition, "offset", key) values (${context.partition}, ${context.offset}, ${context.key})`,
  );
};

/** A topic all of whose messages are dead letters of the group, with six keys, and a copy of where they are. */
async function allDead(rig: Rig, count: number) {
  const { topic, entry } = await rig.topic("letters", 2);
  const producer = await rig.producer();
  await producer.sendBatch(
    topic,
    Array.from({ length: count / 6 }, (_, number) => `${number}`),
    { key: "a" },
  );
  for (const key of ["b", "c", "d", "e", "f"])
    await producer.sendBatch(
      topic,
      Array.from({ length: count / 6 }, (_, number) => `${number}`),
      { key },
    );
  await new Groups(rig.pool()).join("writers", entry.number, "latest");
  await rig.sql.unsafe(`
    create table public.effect (effect bigint generated always as identity, partition integer, "offset" bigint, key text);
    insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, attempts)
    select 1, 1, partition, "offset", id, key, value::text, headers, "timestamp", 'exhausted', 5 from topics.letters order by random();
    create table public.buried as select partition, "offset" from sluice.dead_letter`);
  return { topic, entry, letters: new DeadLetters(rig.pool()) };
}

/**
 * In one statement, and so in one snapshot: each message that was buried has one effect, or waits, or is a dead letter;
 * exactly one of them, at every moment.
 */
async function inexact(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    with places as (
      select partition, "offset", 'effect' as state from public.effect
      union all select partition, "offset", 'waiting' from sluice.redriven_messages
      union all select partition, "offset", 'dead' from sluice.dead_letters)
    select format('%s/%s is %s', partition, "offset", coalesce(string_agg(p.state, ' and ' order by p.state), 'lost')) as sentence
    from public.buried left join places p using (partition, "offset")
    group by partition, "offset" having count(p.state) <> 1 order by partition, "offset"`;
  return rows.map(({ sentence }) => sentence);
}

/** Effects of one key that came in another order than their messages have in the log. */
async function outOfOrder(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ sentence: string }[]>`
    select format('%s: %s/%s came after %s', key, partition, "offset", before) as sentence
    from (select *, lag("offset") over (partition by key, partition order by effect) as before from public.effect) e
    where before > "offset" order by effect`;
  return rows.map(({ sentence }) => sentence);
}

async function countOf(sql: postgres.Sql, table: "public.effect" | "sluice.redriven"): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::integer from ${sql(table)}`;
  return row?.count ?? 0;
}

for (const mode of ["ordered", "keyed"] as const) {
  test(`[R5][I13][I15][I21] owners die, commits are lost: each redriven message takes effect once, in the order of its key (${mode})`, async () => {
    await using rig = await openRig();
    const { topic, entry, letters } = await allDead(rig, 120);
    const proxy = rig.use(await startProxy(rig.url));
    for (const name of ["one", "two"])
      await rig.worker({ name, url: proxy.url, entry, consumer: writers(topic, writeEffect, mode) });
    const working = (async () => {
      expect(await letters.redriveGroup("writers", { rate: 200 })).toBe(120);
      await eventually("nothing waits", async () => (await countOf(rig.sql, "sluice.redriven")) === 0, 40_000);
    })();
    let rounds = 0;
    await during(working, async () => {
      rounds += 1;
      const before = await countOf(rig.sql, "public.effect");
      if (rounds % 3 === 0) await killBackends(rig.sql, rounds % 2 === 0 ? "one handlers" : "two handlers");
      else if (rounds % 3 === 1) await Promise.race([working, proxy.swallowAnswer(isCommit)]);
      else await killBackends(rig.sql, rounds % 2 === 0 ? "sluice one" : "two pool");
      expect(await inexact(rig.sql)).toEqual([]);
      const goesOn = eventually(
        "effects go on",
        async () => (await countOf(rig.sql, "public.effect")) > before,
        40_000,
      );
      await Promise.race([working, goesOn.catch(() => undefined)]);
    });
    expect(rounds).toBeGreaterThan(3);
    expect(await countOf(rig.sql, "public.effect")).toBe(120);
    expect(await inexact(rig.sql)).toEqual([]);
    expect(await outOfOrder(rig.sql)).toEqual([]);
  });
}

test("[R5][I14][I21] without c.tx() each redriven message is handled at least once, first times in the order of its key", async () => {
  await using rig = await openRig();
  const { topic, entry, letters } = await allDead(rig, 60);
  const handled = new Map<string, number[]>();
  const running = new Set<string>();
  const overlaps: string[] = [];
  const handler: Handle = async ({ key, offset }) => {
    const name = String(key);
    if (running.has(name)) overlaps.push(`${name} at ${offset}`);
    running.add(name);
    await Promise.resolve();
    const seen = handled.get(name) ?? [];
    if (!seen.includes(offset)) seen.push(offset);
    handled.set(name, seen);
    running.delete(name);
  };
  await rig.worker({ name: "one", entry, consumer: writers(topic, handler) });
  const working = (async () => {
    await letters.redriveGroup("writers", { rate: 200 });
    await eventually("nothing waits", async () => (await countOf(rig.sql, "sluice.redriven")) === 0, 40_000);
  })();
  await during(working, async () => {
    const before = [...handled.values()].flat().length;
    await killBackends(rig.sql, "one pool");
    const goesOn = eventually("it goes on", () => [...handled.values()].flat().length > before, 40_000);
    await Promise.race([working, goesOn.catch(() => undefined)]);
  });
  expect([...handled.values()].flat()).toHaveLength(60);
  expect(overlaps).toEqual([]);
  for (const offsets of handled.values()) expect(offsets).toEqual([...offsets].sort((left, right) => left - right));
});

test("[R5][I15][I21] many who redrive the same letters at once, by number and by group, double and lose nothing", async () => {
  await using rig = await openRig();
  const { topic, entry, letters } = await allDead(rig, 120);
  await rig.worker({ name: "one", entry, consumer: writers(topic, writeEffect) });
  const numbers = (await letters.list({ limit: 1_000 })).letters.map(({ number }) => number);
  const results = await Promise.all([
    ...Array.from({ length: 4 }, () => letters.redrive(numbers)),
    ...Array.from({ length: 4 }, async () => ({ redriven: Array(await letters.redriveGroup("writers")).fill(0) })),
  ]);
  expect(results.flatMap(({ redriven }) => redriven)).toHaveLength(120);
  await eventually("nothing waits", async () => (await countOf(rig.sql, "sluice.redriven")) === 0);
  expect(await countOf(rig.sql, "public.effect")).toBe(120);
  expect(await inexact(rig.sql)).toEqual([]);
  expect(await outOfOrder(rig.sql)).toEqual([]);
});

/** Redrives six letters to one worker and waits until each was handled, or lost. */
async function redriveSix(rig: Rig, fault?: () => Promise<void>): Promise<string[]> {
  const { topic, entry, letters } = await allDead(rig, 6);
  const proxy = rig.use(await startProxy(rig.url));
  await rig.worker({ name: "one", url: proxy.url, entry, consumer: writers(topic, writeEffect, "ordered") });
  await fault?.();
  await letters.redriveGroup("writers");
  const over = async () => {
    const [row] = await rig.sql`select count(distinct (partition, "offset"))::integer as done from public.effect`;
    return row?.["done"] === 6 || (await countOf(rig.sql, "sluice.redriven")) === 0;
  };
  await eventually("each was handled or is gone", over);
  return await inexact(rig.sql);
}

test("[R5][I15] the check sees a redrive that leaves its letter behind", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.redrive", [
    /delete from sluice\.dead_letter d where d\.dead_letter = any \(v_moved\);/,
    "",
  ]);
  expect((await redriveSix(rig)).length).toBe(6);
});

test("[R5][I15] the check sees a hand-over that is counted as done before it is", async () => {
  await using rig = await openRig();
  await plant(rig.sql, "sluice.begin_redriven", [
    /update sluice\.redriven set attempts = least\(p_attempt, attempts \+ 1\)/,
    "delete from sluice.redriven",
  ]);
  const lost = await redriveSix(rig);
  expect(lost.length).toBe(6);
  expect(lost[0]).toContain("lost");
});

test("[R5][I13] the check sees an effect that commits without its message", async () => {
  await using rig = await openRig();
  await plant(
    rig.sql,
    "sluice.mark_redriven",
    [/delete from sluice\.redriven where[^;]*;/, ""],
    ["case when found then 'done' else 'already' end", "'done'"],
  );
  expect((await redriveSix(rig)).length).toBeGreaterThan(0);
});

test("[R5][I12] an old owner neither counts, settles nor buries a redriven message", async () => {
  await using rig = await openRig();
  const { letters } = await allDead(rig, 6);
  const groups = new Groups(rig.pool());
  const redriven = new RedrivenMessages(rig.pool());
  await letters.redriveGroup("writers");
  const [row] = await rig.sql<{ position: number; number: number }[]>`
    select position, redriven::integer as number from sluice.redriven limit 1`;
  const { position = 0, number = 0 } = row ?? {};
  const old = { position, epoch: (await groups.take(position, 1)).epoch };
  const now = { position, epoch: (await groups.take(position, 2)).epoch };
  const failure = { reason: "exhausted", error: "Error: no", attempts: 1 } as const;
  expect(await redriven.begin(old, number, 1)).toBe("fenced");
  expect(await redriven.done(old, number)).toBe("fenced");
  expect(await redriven.bury(old, number, failure)).toBe("fenced");
  expect(await redriven.pause(old, "no")).toBe("fenced");
  expect(await redriven.begin(now, number, 1)).toBe(1);
  // The answer was lost.
  expect(await redriven.begin(now, number, 1)).toBe(1);
  expect(await redriven.bury(now, number, failure)).toBe("done");
  expect(await redriven.bury(now, number, failure)).toBe("already");
  expect(await redriven.begin(now, number, 2)).toBe("gone");
  expect(await inexact(rig.sql)).toEqual([]);
  await plant(rig.sql, "sluice.mark_redriven", [/ and epoch = p_epoch/, ""]);
  expect(await redriven.done(old, number)).toBe("already");
});

test("[R5][I16] a message that ends its process is handed over no more often than the limit, and dies again", async () => {
  await using rig = await openRig();
  const { topic, entry, letters } = await allDead(rig, 6);
  await rig.sql`delete from sluice.dead_letter where dead_letter <> (select min(dead_letter) from sluice.dead_letter)`;
  await letters.redriveGroup("writers");
  // Three processes have had it, and none came back.
  await rig.sql`update sluice.redriven set attempts = 3`;
  let handled = 0;
  const counting = consumer(topic, {
    group: "writers",
    retry: { attempts: 3 },
    handler: () => {
      handled += 1;
    },
  });
  await rig.worker({ name: "one", entry, consumer: counting });
  const letter = await eventually("it died again", async () => (await letters.list()).letters[0]);
  expect([letter.reason, letter.attempts, handled]).toEqual(["exhausted", 3, 0]);
  expect(letter.error).toContain("ended before it was done");
});

test("[R5][I13] the answer to a redriven message's commit is lost: one effect", async () => {
  await using rig = await openRig();
  const { topic, entry, letters } = await allDead(rig, 6);
  const proxy = rig.use(await startProxy(rig.url));
  await rig.worker({ name: "one", url: proxy.url, entry, consumer: writers(topic, writeEffect) });
  for (const match of [isMark, isCommit]) {
    const lost = proxy.swallowAnswer(match);
    await letters.redriveGroup("writers", { limit: 3 });
    await lost;
    await eventually("nothing waits", async () => (await countOf(rig.sql, "sluice.redriven")) === 0, 40_000);
  }
  expect(await countOf(rig.sql, "public.effect")).toBe(6);
  expect(await inexact(rig.sql)).toEqual([]);
});
