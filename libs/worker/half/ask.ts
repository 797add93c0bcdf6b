import type { CheckBack, CheckBackDecision, HalfMessageInfo } from "@sluice/contract";
import { toError } from "@sluice/kernel";

/** What a check-back said, or why it said nothing, in words that hold no payload. */
export type Answer =
  | { readonly decision: "commit" | "rollback" }
  | { readonly decision: "unknown"; readonly why: string; readonly error?: Error };

/** Characters of an endpoint's answer that are read. */
const answerCharacters = 4_096;

/** Asks a check-back, a function or an endpoint. Never rejects: what is no decision is "unknown". */
export async function ask(
  checkBack: CheckBack,
  half: HalfMessageInfo,
  timeoutMs: number,
  stopped: AbortSignal,
): Promise<Answer> {
  const deadline = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([deadline, stopped]);
  try {
    const asking = typeof checkBack === "string" ? post(checkBack, half, signal) : callBack(checkBack, half);
    return await unlessAborted(asking, signal);
  } catch (error) {
    if (deadline.aborted) return { decision: "unknown", why: `no answer within ${timeoutMs} ms` };
    if (stopped.aborted) return { decision: "unknown", why: "the process that asked was stopped" };
    const why =
      typeof checkBack === "string"
        ? "the endpoint could not be reached"
        : `the check-back threw ${toError(error).name}`;
    return { decision: "unknown", why, error: toError(error) };
  }
}

async function callBack(checkBack: Exclude<CheckBack, string>, half: HalfMessageInfo): Promise<Answer> {
  return judge(await checkBack(half), "the check-back said it cannot tell");
}

/** The value does not go along: an endpoint that can decide knows what it was about. */
async function post(url: string, { id, topic, key, headers }: HalfMessageInfo, signal: AbortSignal): Promise<Answer> {
  const response = await fetch(url, {
    method: "POST",
    // What an endpoint sends us on to was allowed by nobody.
    redirect: "manual",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ id, topic, key, headers }),
    signal,
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    return { decision: "unknown", why: `HTTP ${response.status}` };
  }
  const text = await readText(response, answerCharacters);
  if (text === undefined) return { decision: "unknown", why: "HTTP 200 with a body that is too long" };
  return judge(decisionIn(text), "the endpoint said it cannot tell");
}

function decisionIn(text: string): unknown {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null ? Reflect.get(body, "decision") : undefined;
  } catch {
    // Said by the answer: what is no JSON is no decision.
    return undefined;
  }
}

function judge(decision: unknown, cannotTell: string): Answer {
  const known: readonly CheckBackDecision[] = ["commit", "rollback", "unknown"];
  const found = known.find((one) => one === decision);
  if (found === "commit" || found === "rollback") return { decision: found };
  return { decision: "unknown", why: found === "unknown" ? cannotTell : "the answer was no decision" };
}

/** The body as text; `undefined` when it is longer than `most`. */
async function readText(response: Response, most: number): Promise<string | undefined> {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > most) {
      await reader.cancel();
      return undefined;
    }
  }
}

/** The outcome of `work`, unless the signal comes first; then nobody hears of it any more. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
