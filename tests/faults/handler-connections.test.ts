import { expect, setDefaultTimeout, test } from "bun:test";
import { startProxy } from "@sluice/testkit";
import { HandlerTransactions } from "@sluice/worker";
import { sql as text } from "drizzle-orm";
import { killBackends, openRig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

test("[I14] connections of handlers that are lost while a statement waits to be written are had again at once", async () => {
  await using rig = await openRig();
  const proxy = rig.use(await startProxy(rig.url));
  const pool = rig.pool({ url: proxy.url, connections: 1, name: "handlers" });
  const transactions = new HandlerTransactions(pool);
  const failures: string[] = [];
  for (let round = 0; round < 5; round += 1) {
    const open = await transactions.open().catch((error: unknown) => String(error));
    if (typeof open === "string") {
      failures.push(open);
      continue;
    }
    // Whoever hears of the end says something at once, before the driver knows that the connection is closed.
    const heard = open.tx.execute(text`select pg_sleep(60)`).catch(() => {
      void open.tx.execute(text`select 1`).catch(() => undefined);
    });
    await rig.sql`select pg_sleep(0.05)`;
    proxy.cutAll();
    await heard;
    await open.rollback();
    // (The server would find out when it has slept.)
    await killBackends(rig.sql, "handlers");
  }
  expect(failures).toEqual([]);
});
