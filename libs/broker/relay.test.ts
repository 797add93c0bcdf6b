import { expect, test } from "bun:test";
import { silentLogger } from "@sluice/kernel";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { Doorbell } from "./doorbell.ts";
import { Relay } from "./relay.ts";

test("one look of the relay moves so many and no more: a long outbox keeps nobody from letting the duty go", async () => {
  await using database = await testDatabase();
  const pool = new Pool(database.url, { connections: 2, applicationName: "test" });
  const doorbell = new Doorbell(pool, silentLogger);
  try {
    const ask = async (statement: string) =>
      Number((await pool.query<{ answer: string }>("test", statement))[0]?.answer);
    await pool.query("test", "select sluice.create_topic('letters', 2)");
    await pool.query("test", "select sluice.send('letters', to_json(n)) from generate_series(1, 4100) n");
    const epoch = await ask("select sluice.take_duty(1, 'test') as answer");
    const relay = new Relay(pool, doorbell);
    const left: number[] = [];
    const waits: boolean[] = [];
    for (let look = 0; look < 3; look += 1) {
      waits.push((await relay.round(epoch)) > 0);
      left.push(await ask("select count(*) as answer from sluice.outbox"));
    }
    expect(left).toEqual([2_100, 100, 0]);
    expect(waits).toEqual([false, false, true]);
  } finally {
    await doorbell.idle();
    await pool.close();
  }
});
