import { SluiceError } from "@sluice/kernel";
import type { Appenders } from "./appenders.ts";
import type { GuardedAnswer, GuardedAppendRequest } from "./log.ts";
import statement from "./sql/append-guarded.sql" with { type: "text" };
import againStatement from "./sql/append-guarded-again.sql" with { type: "text" };

/** Appends to a topic that deduplicates or is bounded: the other half of sluice.append_guarded. */
export async function appendGuarded(
  appenders: Appenders,
  request: GuardedAppendRequest,
): Promise<readonly GuardedAnswer[]> {
  const { topic, records, producer, sequence, acks, ring, isRepeat, deadlineMs } = request;
  const what = `appending to topic ${topic.name}`;
  const messages = records.map(
    ({ partition, unit, messageId, key, value, attributes }) =>
      `{"p":${partition},"u":${unit},"i":${JSON.stringify(messageId)},"k":${JSON.stringify(key)},"v":${value},"a":${attributes}}`,
  );
  const rows = await appenders.query<{ answer: string }>(
    { topic: topic.number, follows: false },
    what,
    isRepeat ? againStatement : statement,
    [topic.number, `[${messages.join(",")}]`, producer, sequence, acks === "all" ? "on" : "local", ring],
    deadlineMs,
  );
  const answers = rows[0]?.answer.split(",").map(toAnswer);
  if (answers?.length !== records.length) {
    throw new SluiceError("INTERNAL", `${what}: the answer does not have an entry per record`);
  }
  return answers;
}

function toAnswer(text: string): GuardedAnswer {
  const [kind, first, second, third] = text.split(":");
  if (kind === "f") return { status: "full", room: Number(first) };
  return {
    status: kind === "a" ? "appended" : "duplicate",
    partition: Number(first),
    offset: Number(second),
    id: String(third),
  };
}
