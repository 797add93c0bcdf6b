import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups, type PositionCommit } from "@sluice/broker";
import { consumer } from "@sluice/contract";
import { eventually, History } from "@sluice/testkit";
import { lagOf } from "../invariants/recording-groups.ts";
import { openRig, sendMany } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

/** Holds the first write of a position until it is told to go on. */
class HeldGroups extends Groups {
  readonly held = Promise.withResolvers<void>();
  readonly released = Promise.withResolvers<void>();
  #isFirst = true;

  override async commit(commits: readonly PositionCommit[]): Promise<ReadonlySet<number>> {
    if (this.#isFirst && commits.length > 0) {
      this.#isFirst = false;
      this.held.resolve();
      await this.released.promise;
    }
    return await super.commit(commits);
  }
}

test("[R9] more is reserved for handing out although another write of the position was under way when it was asked for", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  const seen = new Set<string>();
  const handler = (c: { readonly value: string }) => {
    seen.add(c.value);
  };
  let groups: HeldGroups | undefined;
  const worker = await rig.worker({
    name: "reader",
    entry,
    consumer: consumer(topic, { group: "readers", mode: "keyed", commitInterval: 10, handler }),
    groups: (pool) => {
      groups = new HeldGroups(pool);
      return groups;
    },
  });
  await sendMany(producer, topic, new History(), { sender: "first", count: 10, inFlight: 10 });
  await groups?.held.promise;
  // More than the takeover has reserved: to be reserved before it is handed out, behind the write that is held.
  await producer.sendBatch(
    topic,
    Array.from({ length: 1_000 }, (_, number) => `second-${number}`),
  );
  await eventually("the reader has read on", () => (worker.owned[0]?.fetchOffset ?? 0) >= 1_010);
  groups?.released.resolve();
  await eventually("all of it was handled", async () => seen.size === 1_010 && (await lagOf(rig.sql, "readers")) === 0);
  expect(seen.size).toBe(1_010);
});

test("[I16] while its group is paused, an owner that goes in steps reserves one, and the next ones when it hands over", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 1);
  await new Groups(rig.pool()).join("readers", entry.number, "earliest");
  const producer = await rig.producer();
  for (let sent = 0; sent < 100; sent += 1) await producer.send(topic, `${sent}`, { key: `${sent}` });
  // Two ends over the same messages.
  for (let end = 0; end < 2; end += 1) await rig.sql`select from sluice.take_over(1, null, 256)`;
  await rig.sql`select sluice.pause_group('readers')`;
  const seen = new Set<string>();
  const handler = (c: { readonly value: string }) => {
    seen.add(c.value);
  };
  const worker = await rig.worker({
    name: "reader",
    entry,
    consumer: consumer(topic, { group: "readers", mode: "keyed", commitInterval: 10, handler }),
  });
  await eventually("the reader has read", () => (worker.owned[0]?.fetchOffset ?? 0) >= 100);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const [reserved] = await rig.sql`select handed_to::integer from sluice.position`;
  expect([reserved?.["handed_to"], seen.size]).toEqual([16, 0]);
  await rig.sql`select sluice.resume_group('readers')`;
  await eventually("all of it was handled", async () => seen.size === 100 && (await lagOf(rig.sql, "readers")) === 0);
});
