import { expect, setDefaultTimeout, test } from "bun:test";
import { SluiceError } from "@sluice/kernel";
import type { Log } from "@sluice/log";
import { failedIsNeverReadable, History, isAppend, startProxy } from "@sluice/testkit";
import { brokenLog } from "./broken-log.ts";
import { openRig, plant, readTopic, sendMany } from "./rig.ts";

setDefaultTimeout(60_000);

test("[I2] what the server refused is not readable, and what it may have done is never called failed", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic } = await rig.topic("letters", 2);
  await rig.sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$
    begin raise exception 'refused' using errcode = '23514'; end $$;
    create trigger refuse before insert on sluice_log.topic_1_segment_0
      for each row when (new.records like '%refused%') execute function refuse()`);
  const history = new History();
  const direct = await rig.producer();
  await Promise.all([
    sendMany(direct, topic, history, { sender: "refused", count: 20 }),
    sendMany(direct, topic, history, { sender: "accepted", count: 20 }),
  ]);
  // A producer that loses every answer until its time is up.
  const unlucky = await rig.producer({ url: proxy.url, deliveryTimeoutMs: 300 });
  let losing = true;
  const lose = async () => {
    while (losing) await proxy.swallowAnswer(isAppend);
  };
  const losses = lose();
  await sendMany(unlucky, topic, history, { sender: "lost", count: 3 });
  losing = false;
  await sendMany(unlucky, topic, history, { sender: "last", count: 1 });
  await losses;
  const log = await readTopic(rig.sql, "letters");
  const outcomesOf = (sender: string) =>
    history.sends.filter((send) => send.sender === sender).map((send) => send.outcome);
  expect(outcomesOf("refused")).toContain("failed");
  expect(outcomesOf("lost")).toEqual(["unknown", "unknown", "unknown"]);
  expect(log.some(({ value }) => value.startsWith("lost"))).toBe(true);
  expect(failedIsNeverReadable(history.sends, log)).toEqual([]);
});

test("[I2] a repeat that the server refuses does not make a failure of a first try whose answer was lost", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const { topic, entry } = await rig.topic("letters", 1);
  const history = new History();
  const producer = await rig.producer({ url: proxy.url });
  const lost = proxy.swallowAnswer(isAppend);
  const sending = sendMany(producer, topic, history, { sender: "s", count: 1 });
  await lost.then(() => proxy.hold(isAppend));
  await plant(rig.sql, `sluice_log.append_${entry.number}`, [
    /\nbegin\n/,
    "\nbegin\n  raise exception 'no more' using errcode = '42501';\n",
  ]);
  // The repeat under way still means the old function; the one after it is refused.
  proxy.cutAll();
  await sending;
  expect(history.sends.map(({ outcome }) => outcome)).toEqual(["unknown"]);
  expect(failedIsNeverReadable(history.sends, await readTopic(rig.sql, "letters"))).toEqual([]);
});

/** Takes a lost answer for a refusal. */
function pessimistic(log: Log): Log {
  return brokenLog(log, {
    async append(request) {
      await log.append(request);
      throw new SluiceError("DATABASE_ERROR", "the answer was lost", { sqlState: "XX000" });
    },
  });
}

test("[I2] the check sees a log that calls a commit failed whose answer was lost", async () => {
  await using rig = await openRig();
  const { topic } = await rig.topic("letters", 1);
  const history = new History();
  await sendMany(await rig.producer({ log: pessimistic }), topic, history, { sender: "s", count: 3 });
  expect(failedIsNeverReadable(history.sends, await readTopic(rig.sql, "letters"))).toEqual([
    "s-0 failed and is at partition 0, offset 0",
    "s-1 failed and is at partition 0, offset 1",
    "s-2 failed and is at partition 0, offset 2",
  ]);
});
