import type { Outcome } from "./delivery.ts";
import type { Attempt, Verdict } from "./failure-policy.ts";
import type { Task, TaskRunnerContext } from "./task.ts";

/** What comes after an attempt that did not succeed: another one, nothing more, or giving the partition up. */
export async function afterFailure(
  context: TaskRunnerContext,
  { record, offset, attempt, isPutOff }: Task,
  outcome: Exclude<Outcome, { kind: "done" }>,
): Promise<"over" | "give-up" | Exclude<Verdict, string>> {
  // Stopped in the middle: no verdict, no attempt spent; the next owner hands it over again.
  if (context.signal.aborted) return "give-up";
  if (outcome.kind === "fenced" || record === undefined) {
    context.onFenced();
    return "give-up";
  }
  // c.commit() came first: it is done, whatever the handler did afterwards.
  if (!isPutOff && context.progress.isDone(offset)) return "over";
  const failed: Attempt = { ...record, attempt: Math.min(attempt, context.consumer.attempts), isPutOff };
  const verdict = await context.failures.judge(failed, outcome);
  if (verdict === "fenced") context.onFenced();
  if (verdict === "pause") await context.onPause(offset, "error" in outcome ? outcome.error : undefined);
  return typeof verdict === "object" || verdict === "over" ? verdict : "give-up";
}
