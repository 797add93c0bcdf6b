import assert from "node:assert/strict";
import { test } from "node:test";
import { app, consumer, isSluiceError, type RunningApp, topic } from "sluice";
import { z } from "zod";
import { count, eventually, recordingLogger, type World, world } from "./harness.ts";

const jobs = topic("jobs", { schema: z.number(), partitions: 6 });
const chores = topic("chores", { schema: z.number(), partitions: 3 });

type Way = "sticky" | "range" | "round-robin";

/** An app that consumes both topics. */
function member(name: string, assignment: Way = "sticky", handler: () => void | Promise<void> = () => undefined) {
  const options = { group: "workers", assignment, handler } as const;
  return app({ name, consumers: [consumer(jobs, options), consumer(chores, options)], drain: "10s" });
}

interface Assigned {
  readonly topic: string;
  readonly partition: number;
  readonly owner: string;
  readonly epoch: number;
}

/** Who has what, by the first word of the app's name, once everything has a live owner and this holds. */
function assigned(
  here: World,
  what: string,
  holds: (rows: readonly Assigned[]) => boolean,
): Promise<readonly Assigned[]> {
  return eventually(what, async () => {
    const rows = await here.sql<Assigned[]>`
      select topic, partition, split_part(owner, ' ', 1) as owner, epoch::int from sluice.assignments
      where "group" = 'workers' and held and owner is not null order by topic, partition`;
    return rows.length === 9 && holds(rows) ? rows : undefined;
  });
}

const owners = (rows: readonly Assigned[], of: string) =>
  rows
    .filter(({ topic: name }) => name === of)
    .map(({ owner }) => owner)
    .join("");

/** Closes them all, whatever happened. */
async function closing(running: readonly RunningApp[]): Promise<void> {
  for (const one of running) await one.close();
}

test("[K6] by range each member has partitions that follow each other, in turn all topics are dealt out, and SQL says which it is", async () => {
  for (const [way, ofJobs, ofChores] of [
    ["range", "aaabbb", "aab"],
    ["round-robin", "ababab", "bab"],
  ] as const) {
    await using here = await world();
    const running = [await here.start(member("a", way)), await here.start(member("b", way))];
    try {
      // Topics come in the order in which they were made: jobs first.
      await assigned(
        here,
        way,
        (rows) => owners(rows, "jobs") === ofJobs && owners(rows, "chores") === (way === "range" ? ofChores : "aba"),
      );
      const ways = await here.sql`select distinct assignment from sluice.assignments`;
      assert.deepEqual([...ways], [{ assignment: way }]);
    } finally {
      await closing(running);
    }
  }
});

test("[K6] where members disagree, the oldest counts, until it is gone", async () => {
  await using here = await world();
  const old = await here.start(member("a", "round-robin"));
  const running = [await here.start(member("b", "range")), await here.start(member("c", "range"))];
  try {
    await assigned(here, "in turn", (rows) => owners(rows, "jobs") === "abcabc");
    await old.close();
    await assigned(here, "by range", (rows) => owners(rows, "jobs") === "bbbccc");
  } finally {
    await closing([old, ...running]);
  }
});

test("[K6] a join and a leave move only what must move: what stays keeps its epoch, and its handlers never stop", async () => {
  await using here = await world();
  const entered: Promise<void>[] = [];
  const goOn = Promise.withResolvers<void>();
  // Every handler of the first member is in the middle of something, from before the join until after the leave.
  const first = await here.start(
    member("a", "sticky", () => {
      entered.push(goOn.promise);
      return goOn.promise;
    }),
  );
  let second: RunningApp | undefined;
  try {
    for (const partition of count(6)) await first.sluice.send(jobs, partition, { partition });
    await eventually("all six are at work", async () => (entered.length === 6 ? true : undefined));
    const before = await assigned(here, "all at one", (rows) => rows.every(({ owner }) => owner === "a"));
    second = await here.start(member("b"));
    // Its share of what stood still comes over at once, although what is at work is still being waited for.
    await eventually("the idle topic is shared", async () => {
      const rows = await here.sql`
        select from sluice.assignments where topic = 'chores' and owner like 'b %' and held`;
      return rows.length === 1 ? true : undefined;
    });
    goOn.resolve();
    const joined = await assigned(
      here,
      "both have a share",
      (rows) => owners(rows, "jobs").replaceAll("a", "") === "bbb",
    );
    const staying = (rows: readonly Assigned[]) => rows.filter(({ owner }) => owner === "a");
    const epochs = new Map(before.map(({ topic: name, partition, epoch }) => [`${name} ${partition}`, epoch]));
    assert.equal(staying(joined).length, 5);
    for (const { topic: name, partition, epoch } of staying(joined))
      assert.equal(epoch, epochs.get(`${name} ${partition}`));
    await second.close();
    const left = await assigned(here, "all at one again", (rows) => rows.every(({ owner }) => owner === "a"));
    const stayed = new Set(staying(joined).map(({ topic: name, partition }) => `${name} ${partition}`));
    for (const { topic: name, partition, epoch } of left) {
      const before = epochs.get(`${name} ${partition}`) ?? 0;
      assert.equal(epoch, stayed.has(`${name} ${partition}`) ? before : before + 2);
    }
    const moves = await here.sql<{ why: string; moves: number }[]>`
      select why, count(*)::int as moves from sluice.moves group by why order by why`;
    assert.deepEqual(
      [...moves],
      [
        { why: "leave", moves: 4 },
        { why: "rebalance", moves: 4 },
        { why: "start", moves: 9 },
      ],
    );
  } finally {
    goOn.resolve();
    await closing([first, ...(second === undefined ? [] : [second])]);
  }
});

test("[K6] partitions that a topic gains find an owner, and the others stay where they are", async () => {
  await using here = await world();
  const running = [await here.start(member("a")), await here.start(member("b"))];
  try {
    const before = await assigned(here, "shared", (rows) => rows.filter(({ owner }) => owner === "a").length === 5);
    await here.sql.begin(async (tx) => {
      await tx`insert into sluice.segment_start (topic, segment, partition, start_offset)
        select topic, (select max(segment) from sluice.segment s where s.topic = t.topic), 3, 0 from sluice.topic t where name = 'chores'`;
      await tx`insert into sluice.position ("group", topic, partition, next_offset)
        select distinct "group", topic, 3, 0 from sluice.position join sluice.topic using (topic) where name = 'chores'`;
      await tx`update sluice.topic set partitions = 4 where name = 'chores'`;
    });
    const after = await eventually("the new one has an owner", async () => {
      const rows = await here.sql<Assigned[]>`
        select topic, partition, split_part(owner, ' ', 1) as owner, epoch::int from sluice.assignments where held and owner is not null order by topic, partition`;
      return rows.length === 10 ? [...rows] : undefined;
    });
    assert.deepEqual(
      after.filter(({ topic: name, partition }) => name !== "chores" || partition !== 3),
      [...before],
    );
  } finally {
    await closing(running);
  }
});

test("[K5] a member without a partition is told so, and told again when it has one", async () => {
  await using here = await world();
  const one = topic("one", { schema: z.number(), partitions: 1 });
  const single = (name: string) => app({ name, consumers: [consumer(one, { group: "g", handler: () => undefined })] });
  const first = await here.start(single("a"));
  const logger = recordingLogger();
  await using _second = await here.start(single("b"), { logger });
  const said = (message: string) => async () =>
    logger.lines.some((line) => line.message === message) ? true : undefined;
  await eventually("it is told", said("idle: more members than partitions"));
  await first.close();
  await eventually("it is told again", said("no longer idle"));
});

test("an assignment that there is not, or that a mode or an app cannot have, is refused", () => {
  const refused = (make: () => unknown, text: RegExp) =>
    assert.throws(make, (error) => isSluiceError(error, "INVALID_OPTIONS") && text.test((error as Error).message));
  const handler = () => undefined;
  refused(() => consumer(jobs, { group: "g", assignment: "eager" as "range", handler }), /assignment/);
  refused(() => consumer(jobs, { group: "g", mode: "shared", assignment: "range", handler }), /assignment/);
  refused(
    () =>
      app({
        consumers: [
          consumer(jobs, { group: "g", assignment: "range", handler }),
          consumer(chores, { group: "g", handler }),
        ],
      }),
    /more than one assignment: range, sticky/,
  );
  refused(() => app({ member: "" }), /member/);
  for (const name of ["", "x".repeat(121), "a\u0000b"]) refused(() => app({ name }), /name: must be/);
  refused(() => app({ member: "x".repeat(61) }), /member/);
});
