import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, History, isAppend, startProxy, valueHasOneOffset } from "@sluice/testkit";
import { during, openRig, plant, readTopic, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I4][K4] a send whose answer was lost again and again is in the log once, also when the segment rolled meanwhile", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 2);
  const history = new History();
  const producer = await rig.producer({ url: proxy.url });
  let lost = 0;
  const sending = sendMany(producer, topic, history, { sender: "s", count: 60, inFlight: 4 });
  await during(sending, async () => {
    const before = history.sends.length;
    await Promise.race([sending, proxy.swallowAnswer(isAppend)]);
    lost += 1;
    // In half of the cases the repeat meets another segment than the first try.
    if (lost % 2 === 0) await rig.sql`select sluice.roll_segment(${entry.number})`;
    await Promise.race([sending, eventually("a send comes through", () => history.sends.length > before)]);
  });
  expect(lost).toBeGreaterThan(5);
  const log = await readTopic(rig.sql, "letters");
  expect(log).toHaveLength(60);
  expect(valueHasOneOffset(log)).toEqual([]);
});

test("[I4] the check sees an append that does not look whether it was there before", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 1);
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [/if p_repeat or [^;]*? then/, "if false then"]);
  await rig.sql.unsafe("drop index sluice_log.topic_1_segment_0_sequence");
  const history = new History();
  const producer = await rig.producer({ url: proxy.url });
  const lost = proxy.swallowAnswer(isAppend);
  await sendMany(producer, topic, history, { sender: "s", count: 3 });
  await lost;
  expect(valueHasOneOffset(await readTopic(rig.sql, "letters"))).toEqual([
    "s-0 is at partition 0, offset 0 and at partition 0, offset 1",
  ]);
});
