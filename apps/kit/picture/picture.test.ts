import { expect, test } from "bun:test";
import { testDatabase } from "@sluice/testkit";
import { html } from "hono/html";
import { app, consumer, fixed, schedule, silentLogger, topic } from "sluice";
import { z } from "zod";
import { openFrame } from "../frame.ts";
import { pictureElement } from "../page/layout.ts";
import { eventually, noBrowser, openBrowser } from "../testing.ts";
import { type Picture, pictureLine, readCounts, withRates } from "./picture.ts";

const parcels = topic("parcels", { schema: z.object({ number: z.number() }), partitions: 2 });
const letters = topic("letters", { schema: z.object({ number: z.number() }), partitions: 1 });

async function open() {
  await using starting = new AsyncDisposableStack();
  const base = starting.use(await testDatabase());
  const options = { databaseUrl: base.url, name: "sample", brand: "sample", links: [], logger: silentLogger };
  const frame = await openFrame({ ...options, topics: ["parcels"] });
  starting.defer(() => frame.close());
  const bad = consumer(parcels, {
    group: "bad",
    mode: "keyed",
    retry: { attempts: 1, backoff: fixed("10ms") },
    handler: () => {
      throw new Error("no");
    },
  });
  const good = consumer(parcels, { group: "good", handler: () => undefined });
  const running = await app({ name: "sample", topics: [parcels, letters], consumers: [bad, good] }).start({
    url: base.url,
    logger: silentLogger,
  });
  starting.defer(async () => {
    await running.close();
  });
  frame.web.get("/", (c) => c.html(frame.page("Sample", "/", html`${pictureElement()}`)));
  const listening = frame.listen({ port: 0, scenarios: [] });
  starting.defer(() => listening.close());
  const parts = starting.move();
  const { sluice } = running;
  return {
    database: frame.database,
    databaseUrl: base.url,
    url: listening.url,
    sluice,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

test("the counts are those of the topics, the groups and the dead letters; the rates are what was between two looks", async () => {
  await using sample = await open();
  const before = withRates(await readCounts(sample.database, { topics: ["parcels"], others: false }), 1_000, undefined);
  expect(before.topics).toEqual([{ name: "parcels", messages: 0, appended: 0, perSecond: 0, isTicking: false }]);
  await sample.sluice.sendBatch(
    parcels,
    Array.from({ length: 10 }, (_, number) => ({ number })),
  );
  await sample.sluice.send(letters, { number: 1 });
  await eventually("all are done", async () => {
    const { groups } = await readCounts(sample.database, { topics: ["parcels"], others: false });
    return groups.every((group) => group.lag === 0);
  });
  const after = withRates(await readCounts(sample.database, { topics: ["parcels"], others: false }), 3_000, before);
  expect(after.topics).toEqual([{ name: "parcels", messages: 10, appended: 10, perSecond: 5, isTicking: false }]);
  const common = { topic: "parcels", lag: 0, done: 10, perSecond: 5, retrying: 0, isPaused: false, isOwned: true };
  expect(after.groups).toEqual([
    { ...common, group: "bad", deadLetters: 10 },
    { ...common, group: "good", deadLetters: 0 },
  ]);
  expect(pictureLine(after)).toBe("parcels 10: bad 0 (dead 10), good 0");
  const all = await readCounts(sample.database, { topics: ["parcels"], others: true });
  expect(all.topics.map((one) => one.name)).toEqual(["parcels", "letters"]);
  const ticks = schedule(letters, { name: "ticks", every: "1h", value: { number: 1 } });
  await using scheduling = await app({ name: "ticks", schedules: [ticks] }).start({
    url: sample.databaseUrl,
    logger: silentLogger,
  });
  const ticking = await readCounts(sample.database, { topics: ["letters"], others: false });
  await scheduling.close();
  expect(ticking.topics.map((one) => one.isTicking)).toEqual([true]);
  expect(pictureLine(withRates(ticking, 1_000, undefined))).toBe("");
  await sample.sluice.groups.pause("good");
  const paused = await readCounts(sample.database, { topics: ["parcels"], others: false });
  expect(paused.groups.map((group) => group.isPaused)).toEqual([false, true]);
});

test("many viewers at once each get all of it", async () => {
  await using sample = await open();
  const first = async () => {
    const response = await fetch(`${sample.url}/picture`);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("\n\n")) text += (await reader?.read())?.value ?? "";
    await reader?.cancel();
    return JSON.parse(text.slice("data: ".length, text.indexOf("\n\n"))) as Picture;
  };
  const pictures = await Promise.all(Array.from({ length: 20 }, first));
  for (const picture of pictures) expect(picture.groups.map((group) => group.group)).toEqual(["bad", "good"]);
});

test.skipIf(noBrowser !== undefined)(
  "the page draws what flows: a message more, a lane for each group, the dead letters, a pause",
  async () => {
    await using sample = await open();
    await using browser = await openBrowser({ width: 360, height: 740, colorScheme: "dark" });
    await browser.page.goto(sample.url);
    await browser.page.getByText("0 in the log").waitFor();
    await sample.sluice.send(parcels, { number: 1 });
    await browser.page.getByText("1 in the log").waitFor();
    const lane = (group: string) => browser.page.getByRole("listitem").filter({ hasText: group });
    await lane("bad").getByText("1 dead").waitFor();
    await lane("good").getByText("caught up").waitFor();
    await sample.sluice.groups.pause("good");
    await lane("good").getByText("paused").waitFor();
    expect(browser.complaints).toEqual([]);
  },
  60_000,
);
