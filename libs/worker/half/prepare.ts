import type { HalfMessages } from "@sluice/broker";
import type { HalfMessage, PrepareOptions, Topic } from "@sluice/contract";
import { type Problem, parseDurationMs, problemsError } from "@sluice/kernel";
import { encodeRecord } from "../producer/encode.ts";
import type { Producer } from "../producer/producer.ts";
import { isUrl, nameProblem, urlProblem } from "./check-back-address.ts";

const shortestTimeoutMs = 100;
const longestTimeoutMs = 7 * 86_400_000;

/** Prepares a message; see the public face. */
export async function prepareHalf<Value>(
  producer: Producer,
  halves: HalfMessages,
  topic: Topic<Value>,
  value: Value,
  options: PrepareOptions,
): Promise<HalfMessage> {
  const problems = prepareProblems(options);
  if (problems.length > 0) throw problemsError("INVALID_OPTIONS", "a message is not prepared well:", problems);
  const to = await producer.openTopic(topic);
  const record = encodeRecord(topic, value, options);
  const { checkBack } = options;
  const id = await halves.prepare({
    ...record,
    topic: to.entry.number,
    partition: to.pickPartition(record, options.partition),
    // In the spelling in which origins are compared.
    checkBack: isUrl(checkBack) ? new URL(checkBack).href : checkBack,
    timeoutMs: parseDurationMs(options.timeout ?? "1m") ?? 0,
    maxChecks: options.maxChecks ?? 15,
    onUndecided: options.onUndecided ?? "keep",
  });
  return halfOf(halves, id);
}

/** A half message by its id. */
export function halfOf(halves: HalfMessages, id: string): HalfMessage {
  if (!/^\d{1,18}$/.test(id)) {
    throw problemsError("INVALID_OPTIONS", "there can be no such half message:", [
      { path: "id", message: "must be the id of a half message: a number as text" },
    ]);
  }
  return { id, commit: () => halves.commit(id, "caller"), rollback: () => halves.rollback(id, "caller") };
}

function prepareProblems({ checkBack, timeout, maxChecks, onUndecided }: PrepareOptions): Problem[] {
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  const address =
    typeof checkBack !== "string"
      ? "is needed: a name or a URL"
      : (isUrl(checkBack) ? urlProblem : nameProblem)(checkBack);
  require(address === undefined, "checkBack", address ?? "");
  const timeoutMs = timeout === undefined ? shortestTimeoutMs : (parseDurationMs(timeout) ?? 0);
  require(timeoutMs >= shortestTimeoutMs &&
    timeoutMs <= longestTimeoutMs, "timeout", "must be a duration from 100 ms to 7 days");
  require(maxChecks === undefined ||
    (Number.isInteger(maxChecks) &&
      maxChecks >= 1 &&
      maxChecks <= 1_000), "maxChecks", "must be a whole number from 1 to 1,000");
  require(onUndecided === undefined ||
    onUndecided === "keep" ||
    onUndecided === "rollback", "onUndecided", 'must be "keep" or "rollback"');
  return problems;
}
