import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { count, eventually, Inbox, recordingLogger, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 4 });

test("[Q5][K5] one member owns all partitions, the others are told that they are idle, and one takes over when it goes", async () => {
  await using here = await world();
  const inbox = new Inbox<{ member: string; number: number }>();
  const loggers = new Map(["a", "b", "c"].map((name) => [name, recordingLogger()]));
  const running = new Map<string, RunningApp>();
  const idleNames = async () => {
    const rows = await here.sql<{ name: string }[]>`
      select split_part(name, ' ', 1) as name from sluice.idle_members where "group" = 'workers' and topic = 'jobs'`;
    return rows.map(({ name }) => name).sort();
  };
  const activeAmong = (names: readonly string[]) =>
    eventually("one owns all four", async () => {
      const rows = await here.sql<{ name: string }[]>`
        select split_part(name, ' ', 1) as name from sluice.members where live and partitions = 4`;
      const [one] = rows;
      const idle = await idleNames();
      return one !== undefined && idle.join() === names.filter((name) => name !== one.name).join()
        ? one.name
        : undefined;
    });
  try {
    for (const [name, logger] of loggers) {
      const single = consumer(jobs, {
        group: "workers",
        singleActive: true,
        handler: (c) => inbox.add({ member: name, number: c.value.number }),
      });
      running.set(name, await here.start(app({ name, consumers: [single] }), { logger }));
    }
    const first = await activeAmong(["a", "b", "c"]);
    assert.equal(first, "a", "the oldest");
    const sender = running.get("c") as RunningApp;
    await sender.sluice.sendBatch(
      jobs,
      count(20).map((number) => ({ number })),
    );
    await inbox.until(20);
    for (const name of ["b", "c"]) {
      const lines = loggers.get(name)?.lines.filter(({ message }) => message.startsWith("idle: ")) ?? [];
      assert.equal(lines.length, 1, `${name} says it once`);
    }
    await running.get("a")?.close();
    running.delete("a");
    const second = await activeAmong(["b", "c"]);
    assert.equal(second, "b");
    await sender.sluice.sendBatch(
      jobs,
      count(20).map((number) => ({ number: 20 + number })),
    );
    const handled = await inbox.until(40);
    assert.deepEqual(new Set(handled.slice(0, 20).map(({ member }) => member)), new Set(["a"]));
    assert.deepEqual(new Set(handled.slice(20).map(({ member }) => member)), new Set(["b"]));
  } finally {
    for (const one of running.values()) await one.close();
  }
});

test("[K5] a member beyond the partitions is told so, and listed", async () => {
  await using here = await world();
  const alone = topic("alone", { schema: z.object({ number: z.number() }), partitions: 1 });
  const logger = recordingLogger();
  const working = () => app({ consumers: [consumer(alone, { group: "workers", handler: () => undefined })] });
  await using first = await here.start(working());
  await using second = await here.start(working(), { logger });
  const line = await eventually("it says that it is idle", async () =>
    logger.lines.find(({ message }) => message === "idle: more members than partitions"),
  );
  assert.deepEqual([line.level, line.fields["members"], line.fields["partitions"]], ["info", 2, 1]);
  await eventually("it is listed", async () => {
    const rows = await here.sql`select from sluice.idle_members where "group" = 'workers' and topic = 'alone'`;
    return rows.length === 1 ? true : undefined;
  });
  void [first, second];
});
