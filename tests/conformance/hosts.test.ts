import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually, startProxy } from "@sluice/testkit";
import { app, consumer, topic } from "sluice";
import { z } from "zod";
import { Inbox, world } from "./harness.ts";

const letters = topic("letters", { schema: z.string(), partitions: 2 });

test("[R10] an app whose URL names several hosts goes on by another when the one it uses is gone", async () => {
  await using here = await world();
  const first = await startProxy(here.url);
  await using second = await startProxy(here.url);
  const url = second.url.replace(new URL(second.url).host, `${new URL(first.url).host},${new URL(second.url).host}`);
  const inbox = new Inbox<string>();
  const reading = app({
    name: "reader",
    consumers: [consumer(letters, { group: "readers", handler: (c) => inbox.add(c.value) })],
  });
  await using running = await here.start(reading, { url });
  try {
    await running.sluice.send(letters, "before");
    await inbox.until(1);
    assert.ok(first.connections > 0);
    assert.equal(second.connections, 0);
  } finally {
    await first[Symbol.asyncDispose]();
  }
  await running.sluice.send(letters, "after");
  // A call that the driver never answers is given up after eight seconds.
  await eventually("it is handled", () => inbox.items.includes("after"), 30_000);
  assert.ok(second.connections > 0);
});
