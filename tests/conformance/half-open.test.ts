import assert from "node:assert/strict";
import { test } from "node:test";
import { startProxy } from "@sluice/testkit";
import { app, consumer, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, recordingLogger, world } from "./harness.ts";

const letters = topic("letters", { schema: z.string(), partitions: 1 });

/** A half-open connection is to be noticed, and what it carried begun again, within this; `eventually` and `until` wait a little longer. */
const promisedMs = 15_000;

/** An app whose connections go through a proxy, at work, and a sender that goes past it. */
async function started(name: string) {
  await using stack = new AsyncDisposableStack();
  const here = stack.use(await world());
  const proxy = stack.use(await startProxy(here.url));
  const [inbox, logger] = [new Inbox<string>(), recordingLogger()];
  await here.sql`create table effect (value text not null)`;
  const reading = app({
    name,
    consumers: [
      consumer(letters, {
        group: "readers",
        handler: async (c) => {
          await (await c.tx()).execute(`insert into effect values ('${c.value}')`);
          inbox.add(c.value);
        },
      }),
    ],
  });
  const running = stack.use(await here.start(reading, { url: proxy.url, logger }));
  const past = stack.use(await here.connect());
  await past.send(letters, "first");
  await inbox.until(1);
  const owner = async () => {
    const rows = await here.sql<{ member: number }[]>`select member from sluice.assignments where member is not null`;
    return rows[0]?.member;
  };
  const kept = stack.move();
  return { here, proxy, inbox, logger, running, past, owner, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function session() {
  await using one = await started("session");
  const before = await one.owner();
  const from = performance.now();
  assert.equal(
    one.proxy.silence((name) => name.startsWith("sluice session ")),
    1,
  );
  await eventually("it is another member", async () => {
    const now = await one.owner();
    return now !== undefined && now !== before ? true : undefined;
  });
  assert.ok(performance.now() - from < promisedMs, "the member noticed it itself, not the server");
  await one.past.send(letters, "second");
  await one.inbox.until(2);
}

async function idle() {
  await using one = await started("idle");
  assert.ok(one.proxy.silence((name) => name.startsWith("idle")) >= 3);
  await one.past.send(letters, "second");
  await one.inbox.until(2);
  // What it is asked to send goes over connections that nothing was found out about yet.
  await one.running.sluice.send(letters, "third");
  await one.inbox.until(3);
}

async function everything() {
  await using one = await started("everything");
  assert.ok(one.proxy.silence() >= 4);
  await one.past.send(letters, "second");
  const before = await one.owner();
  await eventually("it is another member", async () => ((await one.owner()) === before ? undefined : true));
  await one.inbox.until(2);
}

async function append() {
  await using one = await started("append");
  const silent = one.proxy.silenceAt((statement) => statement.includes("sluice_log.append_"));
  const sent = one.running.sluice.send(letters, "second");
  await silent;
  // The half-open one has the partition's lock, until the server is told to end it.
  const others = await Promise.all(count(3).map((index) => one.past.send(letters, `other ${index}`)));
  assert.equal(new Set([...others, await sent].map(({ offset }) => offset)).size, 4);
  await one.inbox.until(5);
  assert.deepEqual([...new Set(one.inbox.items)].toSorted(), ["first", "other 0", "other 1", "other 2", "second"]);
}

async function transaction(part: RegExp) {
  await using one = await started("transaction");
  const silent = one.proxy.silenceAt((statement) => part.test(statement));
  await one.past.send(letters, "second");
  await silent;
  await eventually("it is handled again", async () => {
    const rows = await one.here.sql`select from effect where value = 'second'`;
    return rows.length > 0 ? true : undefined;
  });
  await one.past.send(letters, "third");
  await eventually("the next is handled", async () => {
    const rows = await one.here.sql`select value from effect order by 1`;
    return rows.length === 3 ? true : undefined;
  });
}

test("[R10][K6][K15] what a half-open connection carried begins again within fifteen seconds: a session, an idle pool, all at once, an append, a handler's statement, its mark and its commit", async () => {
  await Promise.all([
    session(),
    idle(),
    everything(),
    append(),
    transaction(/insert into effect/),
    transaction(/sluice.mark_done/),
    transaction(/^commit$/),
  ]);
});
