import { expect, test } from "bun:test";
import { silentLogger } from "@sluice/kernel";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import { Doorbell } from "./doorbell.ts";
import { Relay } from "./relay.ts";

/** A relay that has the duty, over a database of its own. */
async function openRelay() {
  const database = await testDatabase();
  const pool = new Pool(database.url, { connections: 2, applicationName: "test" });
  const doorbell = new Doorbell(pool, silentLogger);
  const ask = async (statement: string) => (await pool.query<{ answer: unknown }>("test", statement))[0]?.answer;
  const epoch = Number(await ask("select sluice.take_duty(1, 'test')::text as answer"));
  const relay = new Relay(pool, doorbell);
  return {
    ask,
    look: async () => relay.round(epoch),
    async [Symbol.asyncDispose]() {
      await doorbell.idle();
      await pool.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

test("one look of the relay moves so many and no more: a long outbox keeps nobody from letting the duty go", async () => {
  await using here = await openRelay();
  await here.ask("select sluice.create_topic('letters', 2)");
  await here.ask("select sluice.send('letters', to_json(n)) from generate_series(1, 4100) n");
  const left: unknown[] = [];
  const waits: boolean[] = [];
  for (let look = 0; look < 3; look += 1) {
    waits.push((await here.look()) > 0);
    left.push(await here.ask("select count(*)::integer as answer from sluice.outbox"));
  }
  expect(left).toEqual([2_100, 100, 0]);
  expect(waits).toEqual([false, false, true]);
});

test("one look of the relay moves 8 MiB and no more, and what is left at once with the next look", async () => {
  await using here = await openRelay();
  await here.ask("select sluice.create_topic('letters', 2)");
  // Every third goes to partition 1.
  const large = "to_json(repeat('x', 1000000) || n), partition => case n % 3 when 0 then 1 else 0 end";
  await here.ask(`select sluice.send('letters', ${large}) from generate_series(1, 20) n`);
  const left: unknown[] = [];
  const waits: boolean[] = [];
  for (let look = 0; look < 3; look += 1) {
    waits.push((await here.look()) > 0);
    left.push(await here.ask("select count(*)::integer as answer from sluice.outbox"));
  }
  expect(left).toEqual([11, 2, 0]);
  expect(waits).toEqual([false, false, true]);
  const largest = "select max(octet_length(records)) as answer from sluice_log.topic_1";
  expect(Number(await here.ask(largest))).toBeLessThan(8 * 1_048_576 + 1_000_100);
  const order =
    "select string_agg(substr(value #>> '{}', 1000001), ' ' order by partition, \"offset\") as answer from topics.letters";
  expect(await here.ask(order)).toBe("1 2 4 5 7 8 10 11 13 14 16 17 19 20 3 6 9 12 15 18");
  // The looks above had no snapshot to begin from; the same from one on.
  await here.ask(`select sluice.send('letters', ${large}) from generate_series(1, 10) n`);
  expect([await here.look(), (await here.look()) > 0]).toEqual([0, true]);
});

test("one look of the relay lets 8 MiB of what a topic held back in, and no more", async () => {
  await using here = await openRelay();
  await here.ask("select sluice.create_topic('letters', 1)");
  await here.ask("select sluice.guard_topic('letters', max_depth => 1)");
  await here.ask("select sluice.send('letters', to_json(repeat('x', 1000000))) from generate_series(1, 15)");
  await here.look();
  await here.look();
  await here.ask("select sluice.guard_topic('letters', max_depth => 100)");
  const held: unknown[] = [await here.ask("select count(*)::integer as answer from sluice.held")];
  for (let look = 0; look < 2; look += 1) {
    await here.look();
    held.push(await here.ask("select count(*)::integer as answer from sluice.held"));
  }
  expect(held).toEqual([14, 5, 0]);
});
