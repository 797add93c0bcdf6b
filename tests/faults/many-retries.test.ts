import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups } from "@sluice/broker";
import { consumer } from "@sluice/contract";
import { eventually } from "@sluice/testkit";
import { openRig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

test("[R5][I21] the next owner looks at all that waits, also where that is more than may wait at a time; none is overtaken by its key", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  await new Groups(rig.pool()).join("readers", entry.number, "earliest");
  // As an owner left them that had what it read ahead fail, too: 50,000 that are due in an hour, and one above them.
  const above = 50_000;
  await producer.sendBatch(
    topic,
    Array.from({ length: above + 1 }, (_, number) => `${number}`),
    { key: "last" },
  );
  await rig.sql`
    insert into sluice.retry (position, "offset", attempt, due, blocks, id, key, value, headers, "timestamp", error)
    select 1, o, 1, clock_timestamp() + case when o < ${above} then interval '1 hour' else interval '3 s' end, 'key', 'm-' || o,
      case when o < ${above} then 'k-' || o % 1000 else 'last' end, '"' || o || '"', '{}', now(), 'Error: no'
    from generate_series(0, ${above}) as o`;
  const seen: number[] = [];
  const worker = await rig.worker({
    name: "next",
    entry,
    consumer: consumer(topic, { group: "readers", mode: "keyed", handler: ({ offset }) => void seen.push(offset) }),
  });
  await producer.send(topic, "later", { key: "last" });
  await eventually("the last two are handled", () => seen.length === 2, 20_000);
  expect(seen).toEqual([above, above + 1]);
  await worker.close();
});
