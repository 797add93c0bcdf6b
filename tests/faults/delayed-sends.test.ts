import { expect, setDefaultTimeout, test } from "bun:test";
import { startProxy } from "@sluice/testkit";
import { openRig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

test("[R4] a delayed send whose answer was lost is unknown, and a refused one is not", async () => {
  await using rig = await openRig();
  const { topic } = await rig.topic("letters", 1);
  const proxy = rig.use(await startProxy(rig.url));
  const producer = await rig.producer({ url: proxy.url });
  await producer.send(topic, "first", { delay: "1h" });
  const lost = proxy.swallowAnswer((statement) => statement.includes("delayed_insert"));
  const outcome = producer.send(topic, "second", { delay: "1h" }).catch((error: { code?: string }) => error.code);
  await lost;
  expect(await outcome).toBe("COMMIT_UNKNOWN");
  const kept = await rig.sql`select value #>> '{}' as value from sluice.delayed_messages order by id`;
  expect(kept.map(({ value }) => value)).toEqual(["first", "second"]);
  await rig.sql`alter table sluice.delayed add constraint refuses check (value <> '"third"')`;
  const refused = producer.send(topic, "third", { delay: "1h" }).catch((error: { code?: string }) => error.code);
  expect(await refused).toBe("DATABASE_ERROR");
});
