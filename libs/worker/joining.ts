import { type Groups, registerConsumer } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import { SluiceError } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import type { Pool } from "@sluice/store";
import type { JoinedConsumer } from "./worker-context.ts";

/**
 * Makes a consumer part of its group: notes how the group works on the topic, and gives it positions where its mode keeps any. A broadcast
 * with an `instance` is a group of its own, `<group>/<instance>`, with one owner for every partition.
 *
 * Fails with INVALID_OPTIONS when the group works on the topic in another way, or in order on one with priorities, else as any call to the database does.
 */
export async function joinConsumer(
  pool: Pool,
  groups: Groups,
  declared: AnyConsumer,
  entry: TopicEntry,
): Promise<JoinedConsumer> {
  if (declared.mode === "ordered" && entry.priorities > 1) {
    throw new SluiceError(
      "INVALID_OPTIONS",
      `topic ${entry.name} has ${entry.priorities} priorities in this database, so group ${declared.group} cannot consume it in mode "ordered"; choose "keyed" or "shared"`,
    );
  }
  const consumer = withOwnPosition(declared);
  const mode = consumer.mode === "shared" || consumer.mode === "broadcast" ? consumer.mode : "assigned";
  const topic = { number: entry.number, name: entry.name };
  const group = await registerConsumer(pool, { group: consumer.group, topic, mode, isProtected: consumer.protect });
  if (mode !== "broadcast") await groups.join(consumer.group, entry.number, consumer.start);
  return { consumer, entry, group };
}

function withOwnPosition(consumer: AnyConsumer): AnyConsumer {
  if (consumer.mode !== "broadcast" || consumer.instance === null) return consumer;
  const mode = consumer.concurrency === 1 ? "ordered" : "keyed";
  return { ...consumer, mode, group: `${consumer.group}/${consumer.instance}` };
}
