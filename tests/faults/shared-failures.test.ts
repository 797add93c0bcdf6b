import { expect, test } from "bun:test";
import { eventually, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { app, consumer, fixed, silentLogger, topic } from "sluice";
import { z } from "zod";
import { plant } from "../invariants/rig.ts";

const jobs = topic("jobs", { schema: z.object({ number: z.number() }), partitions: 1 });
const messages = 6_000;

function open(url: string): AsyncDisposable & { readonly sql: postgres.Sql } {
  const sql = postgres(url, { max: 2, onnotice: () => undefined });
  return { sql, [Symbol.asyncDispose]: () => sql.end() };
}

interface State {
  /** Messages that are not done yet. */
  readonly left: number;
  readonly deadlocks: number;
}

/**
 * Every second message fails at first, while two members acknowledge what lies around it all the time: as many rounds as are allowed, or until
 * there was a deadlock.
 */
async function failALot(url: string, sql: postgres.Sql, rounds: number): Promise<State> {
  const worker = (name: string) =>
    app({
      name,
      consumers: [
        consumer(jobs, {
          group: "workers",
          mode: "shared",
          commitInterval: "10ms",
          retry: { attempts: 5, backoff: fixed("1ms") },
          handler: (c) => {
            if (c.attempt === 1 && c.value.number % 2 === 0) throw new Error("at first");
          },
        }),
      ],
    }).start({ url, logger: silentLogger });
  const members = [await worker("a"), await worker("b")];
  const look = async () => {
    const [state] = await sql<State[]>`
      select (select sum(lag) from sluice.lag where "group" = 'workers')::integer
          + (select count(*) from sluice.pending)::integer + (select count(*) from sluice.shared_retries)::integer as left,
        deadlocks::integer from pg_stat_database where datname = current_database()`;
    return state ?? { left: Number.NaN, deadlocks: Number.NaN };
  };
  for (let round = 0; round < rounds && (await look()).deadlocks === 0; round += 1) {
    for (let sent = 0; sent < messages; sent += 100) {
      const values = Array.from({ length: 100 }, (_, index) => ({ number: sent + index }));
      await members[0]?.sluice.sendBatch(jobs, values);
    }
    const isOver = ({ left, deadlocks }: State) => left === 0 || deadlocks > 0;
    await eventually("everything is done, or there was a deadlock", async () => isOver(await look()), 60_000);
  }
  // What their sessions counted is written at their end.
  for (const member of members) await member.close();
  return await look();
}

test("[M1][R5] what fails and what is acknowledged in a shared group take their locks in one order", async () => {
  await using database = await testDatabase();
  await using room = open(database.url);
  expect(await failALot(database.url, room.sql, 1)).toEqual({ left: 0, deadlocks: 0 });
});

test("[M1] the check sees failures that lock their leases from the last to the first", async () => {
  await using database = await testDatabase();
  await using room = open(database.url);
  await plant(
    room.sql,
    "sluice.move_all_to_retry",
    ["order by l.lease for update of l", "order by l.lease desc for update of l"],
  );
  const { deadlocks } = await failALot(database.url, room.sql, 20);
  expect(deadlocks).toBeGreaterThan(0);
}, 180_000);
