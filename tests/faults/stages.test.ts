import { expect, setDefaultTimeout, test } from "bun:test";
import { eventually, type FaultyProxy, isCommit, startProxy } from "@sluice/testkit";
import { HandlerTransactions } from "@sluice/worker";
import type { SQL } from "drizzle-orm";
import { PgDialect } from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/postgres-js";
import { lagOf } from "../invariants/recording-groups.ts";
import { during, killBackends, openRig, plant, type Rig, type WorkerRig } from "../invariants/rig.ts";
import { inexactStages, openStageRig, stageRows } from "./stage-rig.ts";

setDefaultTimeout(60_000);

const isAppend = (statement: string) => statement.includes("sluice.append_within");
const isMark = (statement: string) => statement.includes("sluice.mark_all_done");

/** The match from its `number`-th time on: a stage's first transactions have 1, 2, 4, 8 and 16 messages. */
function nth(number: number, match: (statement: string) => boolean): (statement: string) => boolean {
  let times = 0;
  return (statement) => {
    if (match(statement)) times += 1;
    return match(statement) && times >= number;
  };
}

const moments = [
  ["the append of one message", isAppend],
  ["the append of several", nth(4, isAppend)],
  ["the mark of several", isMark],
  ["the COMMIT of one message", isCommit],
  ["the COMMIT of several", nth(4, isCommit)],
] as const;

/** Forty messages, a stage behind a proxy; `fault` meets it at work. Resolves with what is inexact at the end. */
async function stageThrough(
  rig: Rig,
  fault: (proxy: FaultyProxy) => Promise<void>,
  options: Partial<WorkerRig> = {},
): Promise<string[]> {
  const stages = await openStageRig(rig, 1);
  const proxy = rig.use(await startProxy(rig.url));
  await stages.send(40, 0);
  const struck = fault(proxy);
  await stages.start({ name: "maker", url: proxy.url, ...options });
  await struck;
  await stages.atEnd();
  expect(await stageRows(rig.sql)).toBeGreaterThanOrEqual(40);
  return await inexactStages(rig.sql);
}

for (const [moment, match] of moments) {
  test(`[K15][N1][I13] a stage's backend dies at ${moment}: one row and one set of messages for each`, async () => {
    await using rig = await openRig();
    const killed = async (proxy: FaultyProxy) => {
      const held = await proxy.hold(match);
      expect(await killBackends(rig.sql, "maker handlers")).toBeGreaterThan(0);
      expect(await inexactStages(rig.sql)).toEqual([]);
      held.release();
    };
    expect(await stageThrough(rig, killed)).toEqual([]);
  });

  test(`[K15][N1][I13] the answer to ${moment} is lost: one row and one set of messages for each`, async () => {
    await using rig = await openRig();
    expect(await stageThrough(rig, (proxy) => proxy.swallowAnswer(match))).toEqual([]);
  });
}

test("[K15][I13] the check sees a stage that does not mark, once the answer to a COMMIT is lost", async () => {
  await using rig = await openRig();
  await plant(
    rig.sql,
    "sluice.mark_all_done",
    ["where o >= v_next order by o", "where false"],
    ["return v_already", "return '{}'"],
  );
  const inexact = await stageThrough(rig, (proxy) => proxy.swallowAnswer(nth(4, isCommit)));
  // The fourth transaction had offsets 7 to 14.
  expect(inexact).toEqual(
    [7, 8, 9, 10, 11, 12, 13, 14].map(
      (offset) => `partition 0, offset ${offset} is done, with 2 rows and ${2 * (offset % 3)} messages`,
    ),
  );
});

/** Transactions whose appends go over another connection, and so commit by themselves. */
class SplitTransactions extends HandlerTransactions {
  readonly #rig: Rig;

  constructor(...[pool, rig]: [...ConstructorParameters<typeof HandlerTransactions>, Rig]) {
    super(pool);
    this.#rig = rig;
  }

  override async open(): ReturnType<HandlerTransactions["open"]> {
    const transaction = await super.open();
    const { tx } = transaction;
    const elsewhere = drizzle({ client: this.#rig.sql });
    const execute = (query: SQL) => {
      const { sql } = new PgDialect().sqlToQuery(query);
      return (isAppend(sql) ? elsewhere : tx).execute(query);
    };
    const split = new Proxy(tx, {
      get: (target, name) => (name === "execute" ? execute : Reflect.get(target, name, target)),
    });
    Object.assign(transaction, { tx: split });
    return transaction;
  }
}

test("[K15][I13] the check sees a stage that appends in a transaction of its own", async () => {
  await using rig = await openRig();
  const killed = async (proxy: FaultyProxy) => {
    const held = await proxy.hold(isMark);
    await killBackends(rig.sql, "maker handlers");
    held.release();
  };
  const transactions: WorkerRig["transactions"] = (pool) => new SplitTransactions(pool, rig);
  // The first mark of several is that of offsets 1 and 2.
  expect(await stageThrough(rig, killed, { transactions })).toEqual([
    "partition 0, offset 1 is done, with 1 rows and 2 messages",
    "partition 0, offset 2 is done, with 1 rows and 4 messages",
  ]);
});

/** The first owner loses its partition while several messages share a transaction, and its map goes on all the same. */
async function takeOverInTheMiddle(rig: Rig): Promise<string[]> {
  const stages = await openStageRig(rig, 1);
  const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await stages.send(20, 0);
  const before = async ({ offset }: { readonly offset: number }, worker: string) => {
    if (offset !== 10 || worker !== "old") return;
    reached.resolve();
    await goOn.promise;
  };
  await stages.start({ name: "old", drainMs: 30_000, before });
  rig.use({ [Symbol.asyncDispose]: async () => goOn.resolve() });
  await reached.promise;
  await stages.start({ name: "next", before });
  await killBackends(rig.sql, "sluice old");
  await stages.atEnd();
  goOn.resolve();
  await eventually("no transaction of the old owner is open", async () => {
    const open = await rig.sql`
      select from pg_stat_activity where datname = current_database() and application_name = 'old handlers' and state <> 'idle'`;
    return open.length === 0;
  });
  expect(await stageRows(rig.sql)).toBeGreaterThanOrEqual(20);
  return await inexactStages(rig.sql);
}

test("[K15][I12][I13] a stage that is fenced in the middle of its transaction leaves nothing behind", async () => {
  await using rig = await openRig();
  expect(await takeOverInTheMiddle(rig)).toEqual([]);
  const workers = await rig.sql<{ worker: string; to: number }[]>`
    select worker, max("offset")::integer as to from public.effect group by 1 order by 2`;
  expect([...workers]).toEqual([
    { worker: "old", to: 6 },
    { worker: "next", to: 19 },
  ]);
});

test("[I12][I13] the check sees marks that ask neither for the epoch nor for the position", async () => {
  await using rig = await openRig();
  await plant(
    rig.sql,
    "sluice.mark_all_done",
    [/ and epoch = p_epoch/, ""],
    ["where o >= v_next order by o", "order by o"],
  );
  expect(await takeOverInTheMiddle(rig)).toContain("partition 0, offset 10 is done, with 2 rows and 2 messages");
});

test("[K15][N1][I13] two workers run a stage while commits are lost and backends killed: exact at every moment", async () => {
  await using rig = await openRig();
  const stages = await openStageRig(rig, 2);
  const proxy = rig.use(await startProxy(rig.url));
  for (const name of ["one", "two"]) await stages.start({ name, url: proxy.url });
  const working = (async () => {
    for (let part = 0; part < 8; part += 1) await Promise.all([stages.send(25, 0), stages.send(25, 1)]);
    await stages.atEnd();
  })();
  let rounds = 0;
  await during(working, async () => {
    rounds += 1;
    const before = await stageRows(rig.sql);
    if (rounds % 3 === 0) await killBackends(rig.sql, rounds % 2 === 0 ? "one handlers" : "two handlers");
    else if (rounds % 3 === 1) await Promise.race([working, proxy.swallowAnswer(rounds % 2 === 0 ? isMark : isCommit)]);
    else if (rounds % 6 === 2) await killBackends(rig.sql, rounds % 4 === 2 ? "sluice one" : "sluice two");
    expect(await inexactStages(rig.sql)).toEqual([]);
    const goesOn = eventually("rows go on", async () => (await stageRows(rig.sql)) > before, 40_000);
    await Promise.race([working, goesOn.catch(() => undefined)]);
  });
  expect(rounds).toBeGreaterThan(3);
  expect(await stageRows(rig.sql)).toBe(400);
  expect(await lagOf(rig.sql, "maker")).toBe(0);
  expect(await inexactStages(rig.sql)).toEqual([]);
});
