import { expect, setDefaultTimeout, test } from "bun:test";
import { Groups } from "@sluice/broker";
import { type AnyConsumer, consumer, fixed, type HandlerContext, type Topic } from "@sluice/contract";
import { eventually } from "@sluice/testkit";
import { openRig, type Rig } from "../invariants/rig.ts";

setDefaultTimeout(60_000);

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** How long a partition is watched that is to hand over nothing. */
const watchedMs = 700;

/** Three processes have ended over all there is, so each message of it is a suspect. */
async function threeEnds(rig: Rig, topic: number) {
  await new Groups(rig.pool()).join("readers", topic, "earliest");
  for (let end = 0; end < 3; end += 1) await rig.sql`select from sluice.take_over(1, null, 256)`;
}

async function noted(rig: Rig): Promise<string[]> {
  const rows = await rig.sql<{ note: string }[]>`
    select "offset" || ': ' || attempt as note from sluice.handed_out order by "offset"`;
  return rows.map(({ note }) => note);
}

/** Sees what is handed over, and what of it beside others. */
class Watch {
  readonly seen: string[] = [];
  readonly beside = new Set<string>();
  readonly #inHand = new Set<string>();

  async handle(c: HandlerContext<string>): Promise<void> {
    this.#inHand.add(c.value);
    if (this.#inHand.size > 1) for (const value of this.#inHand) this.beside.add(value);
    this.seen.push(`${c.value} ${c.attempt}`);
    // The first is quick, so that places are lent while attempts of the others are counted.
    await sleep(c.value === "m0" ? 1 : 60);
    this.#inHand.delete(c.value);
  }
}

function readers(
  topic: Topic<string>,
  handler: (c: HandlerContext<string>) => Promise<void>,
  options: Partial<Parameters<typeof consumer>[1]> = {},
): AnyConsumer {
  const retry = { attempts: 3, backoff: fixed("1h") };
  return consumer(topic, { group: "readers", mode: "keyed", retry, ...options, handler } as never) as AnyConsumer;
}

for (const mode of ["keyed", "ordered"] as const) {
  test(`[R5][I16] suspects of a paused partition are noted when they are handed over, one at a time; owners that are closed meanwhile cost no attempt (${mode})`, async () => {
    await using rig = await openRig();
    const { topic, entry } = await rig.topic("letters", 1);
    const producer = await rig.producer();
    for (let number = 0; number < 5; number += 1) await producer.send(topic, `m${number}`, { key: `k${number}` });
    await threeEnds(rig, entry.number);
    await rig.sql`select sluice.pause_group('readers')`;
    const watch = new Watch();
    const declared = readers(topic, (c) => watch.handle(c), { mode });
    for (const name of ["first", "second"]) {
      const worker = await rig.worker({ name, consumer: declared, entry });
      await sleep(watchedMs);
      expect({ noted: await noted(rig), seen: watch.seen }).toEqual({ noted: [], seen: [] });
      await worker.close();
    }
    await rig.worker({ name: "third", consumer: declared, entry });
    await sleep(watchedMs);
    await rig.sql`select sluice.resume_group('readers')`;
    await eventually("all are handled", () => watch.seen.length === 5);
    expect(watch.seen).toEqual(["m0 3", "m1 3", "m2 3", "m3 3", "m4 3"]);
    expect(watch.beside.size).toBe(0);
    expect(await rig.sql`select from sluice.dead_letters`).toHaveLength(0);
  });
}

test("[R5][I16][I21] a suspect behind one of its key that was put off is not noted, and keeps nobody else waiting", async () => {
  await using rig = await openRig();
  const { topic, entry } = await rig.topic("letters", 1);
  const producer = await rig.producer();
  await producer.send(topic, "fails", { key: "a" });
  await producer.send(topic, "waits", { key: "a" });
  await producer.send(topic, "other", { key: "b" });
  await threeEnds(rig, entry.number);
  const watch = new Watch();
  const declared = readers(
    topic,
    async (c) => {
      await watch.handle(c);
      if (c.value === "fails") throw new Error("no");
    },
    { retry: { attempts: 4, backoff: fixed("1h") } },
  );
  const worker = await rig.worker({ name: "first", consumer: declared, entry });
  await eventually("those that wait for nobody are handled", () => watch.seen.length === 2);
  await sleep(watchedMs);
  expect(watch.seen).toEqual(["fails 3", "other 3"]);
  expect((await noted(rig)).filter((note) => note.startsWith("1:"))).toEqual([]);
  await worker.close();
});

for (const [mode, rateLimit] of [
  ["keyed", { messages: 1, per: "1h" }],
  ["keyed", { messages: 1, per: "1h", scope: "key" }],
  ["ordered", { messages: 1, per: "1h" }],
] as const) {
  test(`[R5][I16] a suspect that waits for its turn under a rate limit is not noted (${mode}, ${"scope" in rateLimit ? "per key" : "per group"})`, async () => {
    await using rig = await openRig();
    const { topic, entry } = await rig.topic("letters", 1);
    const producer = await rig.producer();
    for (const value of ["m0", "m1", "m2"]) await producer.send(topic, value, { key: "a" });
    await threeEnds(rig, entry.number);
    const watch = new Watch();
    const declared = readers(topic, (c) => watch.handle(c), { mode, rateLimit });
    const worker = await rig.worker({ name: "first", consumer: declared, entry });
    await eventually("the first had its turn", () => watch.seen.length === 1);
    await sleep(watchedMs);
    expect(watch.seen).toEqual(["m0 3"]);
    expect((await noted(rig)).filter((note) => !note.startsWith("0:"))).toEqual([]);
    await worker.close();
  });
}

for (const isPaused of [false, true]) {
  test(`[R5][I16] what was in hand when an owner ended is handed over alone, one after the other (${isPaused ? "taken over while paused" : "taken over at work"})`, async () => {
    await using rig = await openRig();
    const { topic, entry } = await rig.topic("letters", 1);
    const producer = await rig.producer();
    for (let number = 0; number < 6; number += 1) await producer.send(topic, `m${number}`, { key: `k${number}` });
    const failing = readers(topic, () => Promise.reject(new Error("no")), {
      retry: { attempts: 9, backoff: fixed("1h") },
    });
    const first = await rig.worker({ name: "first", consumer: failing, entry });
    await eventually("all have failed", async () => (await rig.sql`select from sluice.retry`).length === 6);
    await first.close();
    await rig.sql`update sluice.retry set due = null, attempt = 2 where "offset" < 5`;
    await rig.sql`update sluice.retry set due = clock_timestamp() where "offset" = 5`;
    await producer.send(topic, "new", { key: "new" });
    if (isPaused) await rig.sql`select sluice.pause_group('readers')`;
    const watch = new Watch();
    const declared = readers(topic, (c) => watch.handle(c), { retry: { attempts: 9, backoff: fixed("1h") } });
    await rig.worker({ name: "second", consumer: declared, entry });
    if (isPaused) {
      await sleep(watchedMs);
      expect(watch.seen).toEqual([]);
      await rig.sql`select sluice.resume_group('readers')`;
    }
    await eventually("all are handled", () => watch.seen.length === 7);
    // The last two were in nobody's hands: they may go together, when the others are over.
    expect(watch.seen.slice(0, 5)).toEqual(["m0 3", "m1 3", "m2 3", "m3 3", "m4 3"]);
    expect([...watch.beside].filter((value) => value !== "m5" && value !== "new")).toEqual([]);
  });
}
