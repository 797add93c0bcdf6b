import { expect, setDefaultTimeout, test } from "bun:test";
import type { Log } from "@sluice/log";
import { eventually, History, senderOrderHolds, startProxy } from "@sluice/testkit";
import { brokenLog } from "./broken-log.ts";
import { during, openRig, readTopic, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I7][K4] what one producer sends to a partition keeps its order, although appends are lost and repeated", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 2);
  const history = new History();
  const producers = await Promise.all([0, 1, 2].map(() => rig.producer({ url: proxy.url })));
  const sending = Promise.all(
    producers.map((producer, index) =>
      sendMany(producer, topic, history, { sender: `s${index}`, count: 200, partition: index % 2, inFlight: 20 }),
    ),
  );
  let faults = 0;
  await during(sending, async () => {
    const before = history.sends.length;
    faults += 1;
    if (faults % 2 === 0) proxy.cutAll();
    else await Promise.race([sending, proxy.swallowAnswer((statement) => statement.includes("sluice_log.append_"))]);
    if (faults === 3) await rig.sql`select sluice.roll_segment(${entry.number})`;
    await Promise.race([sending, eventually("sends go on", () => history.sends.length > before + 30)]);
  });
  expect(faults).toBeGreaterThan(3);
  const log = await readTopic(rig.sql, "letters");
  expect(log).toHaveLength(600);
  expect(senderOrderHolds(history.sends, log)).toEqual([]);
});

/** Lets a flush overtake the one before, as two flushes in flight could. */
function overtaking(log: Log): Log {
  let kept: (() => Promise<unknown>) | undefined;
  return brokenLog(log, {
    async append(request) {
      const late = kept;
      kept = undefined;
      if (late === undefined) {
        kept = () => log.append(request);
        return request.entries.map(() => 0);
      }
      const offsets = await log.append(request);
      await late();
      return offsets;
    },
  });
}

test("[I7] the check sees flushes that overtake each other", async () => {
  await using rig = await openRig();
  const { topic } = await rig.topic("letters", 1);
  const history = new History();
  const producer = await rig.producer({ log: overtaking });
  await sendMany(producer, topic, history, { sender: "s", count: 4, partition: 0 });
  expect(senderOrderHolds(history.sends, await readTopic(rig.sql, "letters"))).toEqual([
    "s in partition 0: number 0 lies behind number 1, at offset 1",
    "s in partition 0: number 2 lies behind number 3, at offset 3",
  ]);
});
