import assert from "node:assert/strict";
import { test } from "node:test";
import { app, type ConsumerOptions, consumer, fixed, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, letTimePass, recordingLogger, type World, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 2 });

type Options = Partial<ConsumerOptions<{ number: number }>> & Pick<ConsumerOptions<{ number: number }>, "handler">;

function sharing(options: Options, name = "app") {
  return app({ name, consumers: [consumer(jobs, { group: "workers", mode: "shared", ...options })] });
}

const numbers = (to: number) => count(to).map((number) => ({ number }));

/** Handlers that wait until they are let go. */
class Holding {
  readonly arrived = new Inbox<{ number: number; partition: number }>();
  readonly #held: (() => void)[] = [];
  #isOpen = false;

  readonly handler: Options["handler"] = async (c) => {
    this.arrived.add({ number: c.value.number, partition: c.partition });
    if (!this.#isOpen) await new Promise<void>((resolve) => this.#held.push(resolve));
  };

  /** Lets those go that wait, and with `open` whatever comes. */
  letGo(open = false): void {
    this.#isOpen = open;
    for (const go of this.#held.splice(0)) go();
  }
}

/** Asks how many messages are done, once. */
async function done(here: World, suffices: (messages: number) => boolean): Promise<true | undefined> {
  const [row] = await here.sql<{ done: number }[]>`
    select coalesce((select sum(end_offset - lag) from sluice.lag where "group" = 'workers'), 0)::int
      + coalesce((select sum(to_offset - from_offset - messages) from sluice.pending), 0)::int as done`;
  return suffices(row?.done ?? 0) ? true : undefined;
}

function committed(here: World, messages: number) {
  return eventually(`${messages} messages are done`, () => done(here, (found) => found === messages));
}

/** What two members that hold four messages each begin after their group was paused, and they could have heard of it. */
async function begunWhilePaused(here: World, heard: number): Promise<number> {
  const held = [new Holding(), new Holding()] as const;
  const logger = recordingLogger();
  await using one = await here.start(sharing({ concurrency: 4, handler: held[0].handler }, "one"), { logger });
  await using two = await here.start(sharing({ concurrency: 4, handler: held[1].handler }, "two"), { logger });
  await using atLast = {
    [Symbol.asyncDispose]: async () => {
      for (const holding of held) holding.letGo(true);
    },
  };
  await one.sluice.sendBatch(jobs, numbers(60));
  await Promise.all(held.map(({ arrived }) => arrived.until(4)));
  await one.sluice.groups.pause("workers", { reason: "load test" });
  await eventually("both have heard of it", async () =>
    logger.lines.filter(({ message }) => message.startsWith("partitions are paused")).length === heard
      ? true
      : undefined,
  );
  for (const holding of held) holding.letGo();
  await eventually("what was in the handlers is done", () => done(here, (messages) => messages >= 8));
  // A look at how the group stands is made twice a second.
  await letTimePass(here.sql, 1_200);
  const begun = held.reduce((sum, { arrived }) => sum + arrived.items.length, 0) - 8;
  await one.sluice.groups.resume("workers");
  for (const holding of held) holding.letGo(true);
  await committed(here, 60);
  void [two, atLast];
  return begun;
}

test("[K8][U5] a paused shared group finishes what runs, begins nothing of what it holds, and goes on when it is resumed", async () => {
  await using here = await world();
  assert.equal(await begunWhilePaused(here, 2), 0);
  const audits = await here.sql<
    { act: string; subject: string }[]
  >`select act, subject from sluice.audits order by audit`;
  assert.deepEqual(
    audits.map(({ act, subject }) => [act, subject]),
    [
      ["pause", "group workers"],
      ["resume", "group workers"],
    ],
  );
});

test("[K8] the check sees a group that is not paused for its members", async () => {
  await using here = await world();
  await here.sql`create or replace function sluice.is_paused(p_group integer, p_topic integer, p_partition integer) returns boolean
    language sql stable return false`;
  assert.ok((await begunWhilePaused(here, 0)) > 0);
});

test("[K8] a group that was paused before its members start is leased nothing, and goes on at once when it is resumed", async () => {
  await using here = await world();
  await using sluice = await here.connect();
  {
    await using running = await here.start(sharing({ handler: () => undefined }));
    void running;
  }
  await sluice.groups.pause("workers", { topic: "jobs" });
  await sluice.sendBatch(jobs, numbers(10));
  const seen = new Inbox<number>();
  await using running = await here.start(sharing({ handler: (c) => seen.add(c.value.number) }));
  await letTimePass(here.sql, 700);
  assert.deepEqual([...(await here.sql`select from sluice.pending`)], []);
  assert.deepEqual(seen.items, []);
  assert.equal((await sluice.groups.list())[0]?.pausedPartitions, 2);
  await sluice.groups.resume("workers", { topic: "jobs" });
  await seen.until(10);
  void running;
});

test("[K8] a paused partition holds nobody else up, however much of it is in hand", async () => {
  await using here = await world();
  const holding = new Holding();
  await using running = await here.start(sharing({ concurrency: 2, prefetch: 8, handler: holding.handler }));
  await running.sluice.sendBatch(jobs, numbers(20), { partition: 0 });
  await holding.arrived.until(2);
  await running.sluice.groups.pause("workers", { topic: "jobs", partition: 0 });
  await running.sluice.sendBatch(jobs, numbers(20), { partition: 1 });
  await letTimePass(here.sql, 700);
  const before = holding.arrived.items.filter(({ partition }) => partition === 0).length;
  holding.letGo(true);
  await eventually("the other partition is done", async () =>
    holding.arrived.items.filter(({ partition }) => partition === 1).length === 20 ? true : undefined,
  );
  assert.equal(holding.arrived.items.filter(({ partition }) => partition === 0).length, before);
  await running.sluice.groups.resume("workers");
  await holding.arrived.until(40);
});

test("[K8] what waits for another attempt is not tried while the group is paused", async () => {
  await using here = await world();
  const attempts = new Inbox<number>();
  await using running = await here.start(
    sharing({
      retry: { attempts: 5, backoff: fixed("300ms") },
      handler: (c) => {
        attempts.add(c.attempt);
        if (c.attempt === 1) throw new Error("no");
      },
    }),
  );
  await running.sluice.send(jobs, { number: 1 });
  await attempts.until(1);
  await running.sluice.groups.pause("workers");
  await letTimePass(here.sql, 1_000);
  assert.deepEqual(attempts.items, [1]);
  await running.sluice.groups.resume("workers");
  assert.deepEqual(await attempts.until(2), [1, 2]);
});

test('[K8][R5] onExhausted "pause" pauses the group in the topic and says why; resumed, the message is tried from its first attempt', async () => {
  await using here = await world();
  const state = { fails: true };
  const seen = new Inbox<string>();
  const pausing = (name: string) =>
    sharing(
      {
        concurrency: 1,
        retry: { attempts: 2, backoff: fixed("10ms") },
        onExhausted: "pause",
        handler: (c) => {
          seen.add(`${c.value.number} attempt ${c.attempt}`);
          if (state.fails && c.value.number === 1) throw new Error("no");
        },
      },
      name,
    );
  await using one = await here.start(pausing("one"));
  await using two = await here.start(pausing("two"));
  await one.sluice.send(jobs, { number: 1 }, { partition: 0 });
  const [pause] = await eventually("it is paused", async () => {
    const rows = await here.sql`select "group", topic, partition, reason from sluice.pauses`;
    return rows.length > 0 ? rows : undefined;
  });
  assert.deepEqual(
    { ...pause },
    { group: "workers", topic: "jobs", partition: null, reason: "partition 0, offset 0: Error: no" },
  );
  await two.sluice.send(jobs, { number: 2 });
  await letTimePass(here.sql, 700);
  assert.deepEqual(seen.items, ["1 attempt 1", "1 attempt 2"]);
  state.fails = false;
  await two.sluice.groups.resume("workers");
  assert.deepEqual([...(await seen.until(4))].slice(2).sort(), ["1 attempt 1", "2 attempt 1"]);
  await committed(here, 2);
  assert.deepEqual([...(await here.sql`select from sluice.dead_letters`)], []);
});

const lanes = topic("lanes", { schema: z.object({ number: z.number() }), partitions: 1, priorities: 3 });

test("[Q4][K8] a paused shared group of a topic with priorities is leased nothing, and resumed goes on with the most urgent", async () => {
  await using here = await world();
  const seen = new Inbox<number>();
  const sharing = app({
    consumers: [
      consumer(lanes, { group: "workers", mode: "shared", concurrency: 1, handler: (c) => seen.add(c.value.number) }),
    ],
  });
  await using running = await here.start(sharing);
  await running.sluice.groups.pause("workers");
  for (const priority of [0, 1, 2]) await running.sluice.send(lanes, { number: priority }, { priority });
  await letTimePass(here.sql, 700);
  assert.deepEqual(seen.items, []);
  assert.deepEqual([...(await here.sql`select from sluice.pending`)], []);
  await running.sluice.groups.resume("workers");
  assert.deepEqual(await seen.until(3), [2, 1, 0]);
  await eventually("done", async () => ((await here.sql`select from sluice.pending`).length === 0 ? true : undefined));
});
