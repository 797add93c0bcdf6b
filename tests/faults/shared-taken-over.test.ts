import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups } from "@sluice/broker";
import { consumer } from "@sluice/contract";
import { eventually } from "@sluice/testkit";
import { openRig, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

/** How many messages each range has that a member had leased which is gone. */
const leased = 200;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A member takes over what one that is gone had leased: many more messages than it may have in hand. */
async function takeOver(rig: Rig, { ranges = 1, handler }: { ranges?: number; handler: () => void | Promise<void> }) {
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  for (let sent = 0; sent < ranges * leased; sent += leased)
    await Promise.all(Array.from({ length: leased }, () => producer.send(topic, "letter", { partition: 0 })));
  await new Groups(rig.pool()).join("sharers", entry.number, "earliest");
  for (let made = 0; made < ranges; made += 1)
    await rig.sql`select sluice.lease_ranges(999, (select array_agg(position) from sluice.position), ${leased}, 10000)`;
  await rig.worker({
    name: "next",
    entry,
    leaseMs: 2_000,
    consumer: consumer(topic, { group: "sharers", mode: "shared", concurrency: 2, prefetch: 20, handler }),
  });
}

/** How many messages are begun once a pause has had time to be heard of, for as long as one is looked for without a doorbell. */
async function begunAfterPause(rig: Rig, handler: () => void | Promise<void>): Promise<number> {
  let begun = 0;
  await takeOver(rig, {
    handler: () => {
      begun += 1;
      return handler();
    },
  });
  await eventually("it has begun", async () => begun >= 5);
  // No doorbell tells of it.
  await rig.sql`insert into sluice.pause ("group", paused_by) select "group", 'test' from sluice.consumer_group where name = 'sharers'`;
  await sleep(1_200);
  const heard = begun;
  await sleep(1_000);
  return begun - heard;
}

test("[K8][Q9] a pause is heeded while ranges are handed over that another member had left behind", async () => {
  await using rig = await openRig();
  expect(await begunAfterPause(rig, () => sleep(50))).toBe(0);
});

test("[K8][Q9] the same where handlers do not wait, so that there is always room", async () => {
  await using rig = await openRig();
  expect(
    await begunAfterPause(rig, () => {
      for (const until = performance.now() + 20; performance.now() < until; );
    }),
  ).toBe(0);
});

test("[Q9][M1] ranges that were taken over together are renewed while the first of them is handed over", async () => {
  await using rig = await openRig();
  await takeOver(rig, { ranges: 3, handler: () => sleep(50) });
  const pending = () => rig.sql<{ left: number }[]>`
    select extract(epoch from lease_until - clock_timestamp())::float8 as left from sluice.pending where member = 'next'`;
  await eventually("all are taken over", async () => (await pending()).length === 3);
  for (let looks = 0; looks < 6; looks += 1) {
    await sleep(500);
    const rows = await pending();
    expect(rows).toHaveLength(3);
    expect(Math.min(...rows.map(({ left }) => left))).toBeGreaterThan(0);
  }
});
