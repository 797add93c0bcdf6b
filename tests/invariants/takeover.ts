import { eventually, type History, startProxy } from "@sluice/testkit";
import { lagOf, recording } from "./recording-groups.ts";
import { killBackends, openRig, type Rig, sendMany } from "./rig.ts";

/**
 * A worker is frozen in the middle of a handler, as SIGSTOP would: the server hears nothing of it, it hears nothing of
 * the server. Its session ends, another worker takes over and goes on to the end; then it thaws and goes on, too.
 */
export async function freezeAndTakeOver(history: History, prepare: (rig: Rig) => Promise<void>): Promise<Rig> {
  const rig = await openRig();
  try {
    const proxy = rig.use(await startProxy(rig.url));
    const { topic, entry } = await rig.topic("letters", 1);
    const producer = await rig.producer();
    await sendMany(producer, topic, history, { sender: "before", count: 20 });
    await prepare(rig);
    const frozen = Promise.withResolvers<void>();
    const thawed = Promise.withResolvers<void>();
    // Ends with the rig, before the worker does, whatever happens.
    const old = recording(topic, history, {
      group: "readers",
      handler: async ({ offset }) => {
        if (offset !== 10) return;
        frozen.resolve();
        await thawed.promise;
      },
    });
    await rig.worker({ name: "frozen", url: proxy.url, entry, drainMs: 200, ...old });
    rig.use({ [Symbol.asyncDispose]: async () => thawed.resolve() });
    await frozen.promise;
    proxy.freeze();
    // What its server processes do when nothing is heard for the lease; only sooner.
    await killBackends(rig.sql, "sluice frozen");
    await rig.worker({ name: "next", entry, ...recording(topic, history, { group: "readers" }) });
    await sendMany(producer, topic, history, { sender: "after", count: 5 });
    await eventually("the next owner is at the end", async () => (await lagOf(rig.sql, "readers")) === 0);
    thawed.resolve();
    proxy.thaw();
    await eventually("the frozen one has come back as a new member", async () => {
      const members = await rig.sql`select from sluice.members where live and name = 'frozen'`;
      return members.length > 0;
    });
    return rig;
  } catch (error) {
    await rig[Symbol.asyncDispose]();
    throw error;
  }
}
