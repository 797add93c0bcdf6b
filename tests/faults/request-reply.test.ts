import { expect, setDefaultTimeout, test } from "bun:test";
import { forgetExpired, type Reply } from "@sluice/broker";
import { openTopic } from "@sluice/log";
import { eventually, isCommit, startProxy } from "@sluice/testkit";
import { Answers } from "@sluice/worker";
import { sql as text } from "drizzle-orm";
import { app, consumer, fixed, silentLogger } from "sluice";
import { killBackends, openRig, type Rig, type WorkerRig } from "../invariants/rig.ts";
import { positionOf, prices, replies, requester, startAnswering } from "./request-rig.ts";

setDefaultTimeout(60_000);

const ball = { article: "ball" };

/** An app that answers at once, or when `ready` says so. */
async function answering(rig: Rig, url = rig.url, ready: Promise<void> = Promise.resolve()) {
  const handled: number[] = [];
  const pricing = consumer(prices, {
    group: "pricing",
    commitInterval: "20ms",
    retry: { attempts: 1_000, backoff: fixed("5ms") },
    handler: async (c) => {
      handled.push(c.offset);
      await ready;
      c.reply({ price: 4, by: "app" });
    },
  });
  rig.use(await app({ name: "answering", consumers: [pricing] }).start({ url, logger: silentLogger }));
  return handled;
}

test("[Q7] a handler's process killed between its answer and its position: the next one's answer is dropped", async () => {
  await using rig = await openRig();
  const { requests } = await requester(rig);
  const first = startAnswering(rig, { ANSWERS_AS: "first" });
  expect(await requests.request(prices, ball)).toEqual({ price: 4, by: "first" });
  await first.kill();
  expect(await positionOf(rig.sql)).toBe(0);
  startAnswering(rig, { ANSWERS_AS: "second" });
  await eventually("the second has answered, too", async () => (await replies(rig.sql))[0]?.dropped === 1);
  expect(await replies(rig.sql)).toEqual([{ by: "first", dropped: 1 }]);
});

test("[Q7][N1] killed before the COMMIT with its answer: only the next one's is ever seen, with its effect", async () => {
  await using rig = await openRig();
  await rig.sql`create table public.asked (correlation text not null, by text not null)`;
  const proxy = rig.use(await startProxy(rig.url));
  const { requests } = await requester(rig);
  const reached = proxy.hold(isCommit);
  const exact = { ANSWERS_IN_TRANSACTION: "yes" };
  const first = startAnswering(rig, { ...exact, ANSWERS_AS: "first", DATABASE_URL: proxy.url });
  const answer = requests.request(prices, ball);
  const held = await reached;
  await first.kill();
  // The network still has its COMMIT, which is not to arrive after all.
  await killBackends(rig.sql, "first");
  held.release();
  expect(await replies(rig.sql)).toEqual([]);
  startAnswering(rig, { ...exact, ANSWERS_AS: "second" });
  expect(await answer).toEqual({ price: 4, by: "second" });
  expect(await replies(rig.sql)).toEqual([{ by: "second", dropped: 0 }]);
  expect((await rig.sql`select by from public.asked`).map(({ by }) => by)).toEqual(["second"]);
});

/** The backend of the handler's transaction dies before its COMMIT; gives the answers without an effect, at that moment. */
async function dieBeforeCommit(rig: Rig, answers?: WorkerRig["answers"]): Promise<number> {
  await rig.sql`create table public.asked (correlation text not null)`;
  const entry = await openTopic(rig.pool({ connections: 1 }), prices, { create: true });
  const pricing = consumer(prices, {
    group: "pricing",
    retry: { attempts: 1_000, backoff: fixed("5ms") },
    handler: async (c) => {
      const tx = await c.tx();
      await tx.execute(text`insert into public.asked (correlation) values (${c.headers["correlation-id"]})`);
      c.reply({ price: 4, by: "worker" });
    },
  });
  const proxy = rig.use(await startProxy(rig.url));
  const { requests } = await requester(rig);
  const reached = proxy.hold(isCommit);
  const how = answers === undefined ? {} : { answers };
  await rig.worker({ name: "answerer", url: proxy.url, entry, consumer: pricing, ...how });
  const answer = requests.request(prices, ball);
  const held = await reached;
  await killBackends(rig.sql, "answerer handlers");
  const loose = await rig.sql`
    select from sluice.replies r where not exists (select from public.asked a where a.correlation = r.correlation)`;
  held.release();
  expect(await answer).toEqual({ price: 4, by: "worker" });
  return loose.length;
}

test("[Q7][N1] an answer in a handler's transaction is there with its effect or not at all", async () => {
  await using rig = await openRig();
  expect(await dieBeforeCommit(rig)).toBe(0);
});

/** Answers at once, whatever becomes of the transaction. */
class LooseAnswers extends Answers {
  override async send(given: readonly Reply[], _: unknown, signal: AbortSignal): Promise<void> {
    await super.send(given, undefined, signal);
  }
}

test("[Q7] the check sees an answer that is given outside of the handler's transaction", async () => {
  await using rig = await openRig();
  expect(await dieBeforeCommit(rig, (context) => new LooseAnswers(context))).toBe(1);
});

test("[Q7][I19] with the doorbell switched off the same answer comes by looking", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  proxy.dropNotifications = true;
  const { requests } = await requester(rig, { url: proxy.url });
  await answering(rig, proxy.url);
  for (const _ of [1, 2]) expect(await requests.request(prices, ball)).toEqual({ price: 4, by: "app" });
  expect(proxy.droppedNotifications).toBeGreaterThan(0);
});

test("[I19] the check sees a requester that relies on the doorbell, and one that hears it needs no look", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { requests } = await requester(rig, { url: proxy.url, pollMs: 3_600_000 });
  await answering(rig);
  expect(await requests.request(prices, ball, { timeout: "20s" })).toEqual({ price: 4, by: "app" });
  proxy.dropNotifications = true;
  const deaf = requests.request(prices, ball, { timeout: "1s" }).catch((error: { code?: string }) => error.code);
  expect(await deaf).toBe("REQUEST_TIMEOUT");
  expect(proxy.droppedNotifications).toBeGreaterThan(0);
});

test("[Q7] connections cut while a request waits, on both sides: it is answered all the same, once", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const ready = Promise.withResolvers<void>();
  const handled = await answering(rig, proxy.url, ready.promise);
  const { requests } = await requester(rig, { url: proxy.url });
  const answer = requests.request(prices, ball);
  await eventually("it is being handled", () => handled.length > 0);
  proxy.cutAll();
  for (const name of ["requester", "answering"]) await killBackends(rig.sql, name);
  ready.resolve();
  expect(await answer).toEqual({ price: 4, by: "app" });
  expect((await replies(rig.sql)).length).toBe(1);
});

test("[Q7] a database that is away for a while: who waits asks again when it is back", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { requests } = await requester(rig, { url: proxy.url });
  const ready = Promise.withResolvers<void>();
  const handled = await answering(rig, rig.url, ready.promise);
  const answer = requests.request(prices, ball);
  await eventually("it is being handled", () => handled.length > 0);
  // Nothing arrives at the requester any more: neither the ring nor what it reads.
  proxy.blackHole();
  proxy.cutAll();
  ready.resolve();
  await eventually("it is answered", async () => (await replies(rig.sql)).length === 1);
  proxy.thaw();
  proxy.cutAll();
  expect(await answer).toEqual({ price: 4, by: "app" });
});

test("[Q7] a requester that died leaves nothing behind: what it can wait for no more is forgotten by a duty", async () => {
  await using rig = await openRig();
  const ready = Promise.withResolvers<void>();
  await answering(rig, rig.url, ready.promise);
  const { requests } = await requester(rig);
  const asked = { timeout: "50ms", timeToLive: "1h" } as const;
  await expect(requests.request(prices, ball, asked)).rejects.toMatchObject({ code: "REQUEST_TIMEOUT" });
  await requests.close();
  ready.resolve();
  await eventually("its time is over", async () => {
    const rows = await rig.sql`select from sluice.replies where expires_at < clock_timestamp()`;
    return rows.length === 1;
  });
  await forgetExpired(rig.pool());
  expect(await replies(rig.sql)).toEqual([]);
});

test("[Q7][R4] the database's word that an answer was kept is lost: it is given again, and counts once", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const lost = proxy.swallowAnswer((statement) => statement.includes("sluice.answer"));
  const handled = await answering(rig, proxy.url);
  const { requests } = await requester(rig);
  expect(await requests.request(prices, ball)).toEqual({ price: 4, by: "app" });
  await lost;
  await eventually("it was given again", async () => (await replies(rig.sql))[0]?.dropped === 1);
  await eventually("the message is done", async () => (await positionOf(rig.sql)) === 1);
  expect(handled).toEqual([0]);
});
