import { expect, setDefaultTimeout, test } from "bun:test";
import type { Log } from "@sluice/log";
import { acknowledgedIsReadable, eventually, History, isAppend, startProxy } from "@sluice/testkit";
import { brokenLog } from "./broken-log.ts";
import { killBackends, openRig, readTopic, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I1][K4] what was acknowledged is readable, although answers are lost, connections cut and backends killed", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 4);
  const history = new History();
  const producers = await Promise.all(Array.from({ length: 4 }, () => rig.producer({ url: proxy.url })));
  const sending = Promise.all(
    producers.map((producer, index) =>
      sendMany(producer, topic, history, { sender: `s${index}`, count: 150, inFlight: 8 }),
    ),
  );
  for (const fault of [
    () => proxy.swallowAnswer(isAppend),
    async () => proxy.cutAll(),
    () => killBackends(rig.sql, "producer"),
    () => rig.sql`select sluice.roll_segment(${entry.number})`,
    async () => proxy.cutAfterBytes(40),
  ]) {
    const before = history.sends.length;
    // Every fault meets senders at work.
    await Promise.race([sending, fault()]);
    await Promise.race([sending, eventually("sends go on", () => history.sends.length > before + 20)]);
  }
  await sending;
  expect(history.sends.filter(({ outcome }) => outcome === "acknowledged")).toHaveLength(600);
  expect(acknowledgedIsReadable(history.sends, await readTopic(rig.sql, "letters"))).toEqual([]);
});

/** Answers every fifth append without doing it. */
function forgetful(log: Log): Log {
  let calls = 0;
  return brokenLog(log, {
    append(request) {
      calls += 1;
      return calls % 5 === 0 ? Promise.resolve(request.entries.map(() => 1_000 + calls)) : log.append(request);
    },
  });
}

test("[I1] the check sees a log that acknowledges what it did not append", async () => {
  await using rig = await openRig();
  const { topic } = await rig.topic("letters", 1);
  const history = new History();
  const producer = await rig.producer({ log: forgetful });
  await sendMany(producer, topic, history, { sender: "s", count: 20 });
  const violations = acknowledgedIsReadable(history.sends, await readTopic(rig.sql, "letters"));
  expect(violations).toHaveLength(4);
  expect(violations[0]).toBe("s-4 was acknowledged at partition 0, offset 1005, which holds nothing");
});
