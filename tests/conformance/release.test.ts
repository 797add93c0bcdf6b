import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type App,
  app,
  type ConsumerOptions,
  consumer,
  isSluiceError,
  type RateLimit,
  type Sluice,
  topic,
} from "sluice";
import { z } from "zod";
import { caughtUp, count, eventually, Inbox, recordingLogger, type World, world } from "./harness.ts";

const load = topic("load", { schema: z.number(), partitions: 2, key: String });

type Mode = "ordered" | "keyed" | "shared";

interface Handled {
  readonly value: number;
  readonly at: number;
}

function testing(inbox: Inbox<Handled>, options: Partial<ConsumerOptions<number>> = {}) {
  const handler = (c: { readonly value: number }) => inbox.add({ value: c.value, at: performance.now() });
  return app({ consumers: [consumer(load, { group: "tested", mode: "keyed", handler, ...options })] });
}

/** Pauses the group, and lets messages gather once its members have heard of it. */
async function storeUp({ sluice, logger }: Tested, messages: number): Promise<void> {
  const heard = () =>
    logger.lines.filter(({ message }) => /^(a partition is|partitions are) paused/.test(message)).length;
  const before = heard();
  await sluice.groups.pause("tested", { reason: "load test" });
  await eventually("its members have heard of the pause", async () => (heard() >= before + 2 ? true : undefined));
  await sluice.sendBatch(load, count(messages));
  const [status] = await sluice.groups.list();
  assert.deepEqual([status?.lag, status?.pausedPartitions], [messages, 2]);
}

interface Tested {
  readonly sluice: Sluice;
  readonly logger: ReturnType<typeof recordingLogger>;
}

/** What has to hear of a pause is two: the partitions of one member, or two that share. */
function second(here: World, mode: Mode, tested: App, { logger }: Pick<Tested, "logger">) {
  return mode === "shared" ? here.start(tested, { logger }) : undefined;
}

/** Resolves when nothing is being let go at a rate any more, and the member knows. */
async function workedOff(here: World, { logger }: Pick<Tested, "logger">): Promise<void> {
  await eventually("it is worked off", async () => {
    const rows = await here.sql`select from sluice.releases`;
    const isKnown = logger.lines.some(({ message }) => message === "what had gathered is done");
    return rows.length === 0 && isKnown ? true : undefined;
  });
}

/** How long it takes two members to let go of 60 that had gathered, from before they are told: a busy machine makes it longer. */
async function releaseMs(here: World, mode: Mode, rate: RateLimit): Promise<number> {
  const inbox = new Inbox<Handled>();
  const logger = recordingLogger();
  await using one = await here.start(testing(inbox, { mode }), { logger });
  await using _two = await here.start(testing(inbox, { mode }), { logger });
  await eventually("each has a partition", async () => {
    const [row] = await here.sql`select count(*) filter (where partitions = 1)::int as owners from sluice.members`;
    return row?.["owners"] === 2 || mode === "shared" ? true : undefined;
  });
  await storeUp({ sluice: one.sluice, logger }, 60);
  assert.equal(inbox.items.length, 0);
  const beganAt = performance.now();
  assert.equal(await one.sluice.groups.resume("tested", { rate }), 1);
  await inbox.until(60);
  return Math.max(...inbox.items.map(({ at }) => at)) - beganAt;
}

for (const mode of ["ordered", "keyed", "shared"] as const) {
  test(`[U5] what was stored up is let go at a rate that holds over all members (${mode})`, async () => {
    await using here = await world();
    // The first has its turn at once and the last 590 ms later.
    assert.ok((await releaseMs(here, mode, { messages: 100, per: "1s" })) >= 580);
  });
}

test("the check sees a rate that does not hold", async () => {
  for (const mode of ["keyed", "shared"] as const) {
    await using here = await world();
    await here.sql.unsafe(`create or replace function sluice.release_left(p_group integer, p_topic integer, p_ends bigint[])
      returns bigint language sql stable return 0`);
    // It would be six seconds.
    assert.ok((await releaseMs(here, mode, { messages: 10, per: "1s" })) < 5_500);
  }
});

for (const mode of ["keyed", "shared"] as const) {
  test(`[U5] the rate takes the place of the group's own, ends with what had gathered, and what comes then goes as before (${mode})`, async () => {
    await using here = await world();
    const inbox = new Inbox<Handled>();
    const logger = recordingLogger();
    const tested = testing(inbox, { mode });
    await using running = await here.start(tested, { logger });
    await using _second = await second(here, mode, tested, { logger });
    await storeUp({ sluice: running.sluice, logger }, 4);
    await running.sluice.groups.resume("tested", { rate: { messages: 2, per: "1s" } });
    const release = await eventually(
      "it is being let go",
      async () => (await here.sql`select * from sluice.releases`)[0],
    );
    assert.deepEqual(
      [release["group"], release["topic"], release["messages"], release["until"]],
      ["tested", "load", 2, null],
    );
    assert.ok(Number(release["left"]) >= 1);
    await workedOff(here, { logger });
    // At two a second these would take fifty seconds.
    await running.sluice.sendBatch(load, count(100));
    await inbox.until(104);
  });

  test(`[U5] a group with a slow limit of its own lets go at the rate that was asked for, and keeps its own afterwards (${mode})`, async () => {
    await using here = await world();
    const inbox = new Inbox<Handled>();
    const logger = recordingLogger();
    const tested = testing(inbox, { mode, rateLimit: { messages: 1, per: "1h" } });
    await using running = await here.start(tested, { logger });
    await using _second = await second(here, mode, tested, { logger });
    await storeUp({ sluice: running.sluice, logger }, 50);
    await running.sluice.groups.resume("tested", { rate: { messages: 1_000, per: "1s" } });
    await inbox.until(50);
    await workedOff(here, { logger });
    await running.sluice.sendBatch(load, count(3));
    // How many have asked for a turn by then is up to who of the two members got them.
    await eventually("the next turn is an hour away", async () => {
      const [row] = await here.sql`select next_at > clock_timestamp() + interval '30 minutes' as far from sluice.pace`;
      return row?.["far"] === true ? true : undefined;
    });
    assert.ok(inbox.items.length <= 51);
  });

  test(`[U5] resuming without a rate lets go of the rest at once; so does the time at which the rate was to end (${mode})`, async () => {
    await using here = await world();
    const inbox = new Inbox<Handled>();
    const logger = recordingLogger();
    const tested = testing(inbox, { mode });
    await using running = await here.start(tested, { logger });
    await using _second = await second(here, mode, tested, { logger });
    const { groups } = running.sluice;
    await storeUp({ sluice: running.sluice, logger }, 20);
    const rate = { messages: 1, per: "1h" } as const;
    await groups.resume("tested", { rate });
    await inbox.until(1);
    assert.equal((await here.sql`select "left" from sluice.releases`).length, 1);
    assert.equal(await groups.resume("tested"), 0);
    await inbox.until(20);
    await caughtUp(here.sql, "tested");
    await storeUp({ sluice: running.sluice, logger }, 20);
    const [row] = await here.sql<{ soon: Date }[]>`select clock_timestamp() + interval '1 second' as soon`;
    await groups.resume("tested", { rate, until: row?.soon ?? 0 });
    await inbox.until(40);
  });
}

test("[U5] a batch handler gets one message at a time while a rate holds", async () => {
  await using here = await world();
  for (const mode of ["ordered", "keyed"] as const) {
    const sizes = new Inbox<number>();
    const batchHandler = (c: { readonly messages: readonly unknown[] }) => sizes.add(c.messages.length);
    const group = `tested-${mode}`;
    const batches = consumer(load, { group, mode, start: "latest", batchHandler, batch: { size: 10, wait: "10ms" } });
    // Paused before anybody runs: a member that has yet to hear of it would hand over what was sent.
    await (await here.start(app({ consumers: [batches] }))).close();
    await using sluice = await here.connect();
    await sluice.groups.pause(group);
    await sluice.sendBatch(load, count(20));
    await using _running = await here.start(app({ consumers: [batches] }));
    await sluice.groups.resume(group, { rate: { messages: 200, per: "1s" } });
    await sizes.until(20);
    assert.deepEqual(new Set(sizes.items), new Set([1]));
  }
});

test("a rate that cannot be meant is refused, and nothing is resumed", async () => {
  await using here = await world();
  const each = consumer(load, { group: "each", mode: "broadcast", handler: () => undefined });
  await using running = await here.start(app({ consumers: [each, ...testing(new Inbox()).consumers] }));
  const { groups } = running.sluice;
  await groups.pause("tested");
  const refused = async (options: Parameters<typeof groups.resume>[1]) => {
    try {
      await groups.resume("tested", options);
    } catch (error) {
      return isSluiceError(error, "INVALID_OPTIONS") ? error.problems.map(({ path }) => path) : error;
    }
    return undefined;
  };
  const rate = { messages: 1, per: "1s" } as const;
  assert.deepEqual(await refused({ rate: { messages: 0, per: "2d" } }), ["rate.messages", "rate.per"]);
  assert.deepEqual(await refused({ rate, topic: "load", partition: 0, until: "soon" }), ["partition", "until"]);
  assert.deepEqual(await refused({ until: 0 }), ["until"]);
  await assert.rejects(groups.resume("each", { rate }), (error) => isSluiceError(error, "UNKNOWN_GROUP"));
  assert.equal((await here.sql`select from sluice.pauses`).length, 1);
  await here.sql`select sluice.release_group('tested', messages => 10, per => '1 second')`;
  assert.equal((await here.sql`select from sluice.pauses`).length, 0);
});
