import { randomUUID } from "node:crypto";
import type { KeptReply } from "@sluice/broker";
import { askingHeaderNames, askingHeaders, type RequestOptions, type Topic } from "@sluice/contract";
import { limits, type Problem, parseDurationMs, problemsError, SluiceError } from "@sluice/kernel";
import type { Producer } from "../producer/producer.ts";
import { Inbox, type InboxContext } from "./inbox.ts";

/** A requester's surroundings. */
export interface RequestsContext extends InboxContext {
  readonly producer: Producer;
}

/** What a send may be told and a request may not, and why. */
const refusedOptions = {
  tx: "cannot be given: nobody sees the message before that commits, and the answer cannot come before. Send it with the headers of docs/request-reply.md instead",
  delay: "cannot be given: whoever asks waits",
  deliverAt: "cannot be given: whoever asks waits",
  acks: "cannot be given: a request waits until its message is durable",
};

/** Asks by sending messages, and waits for the answers. One per process; it costs nothing before the first request. */
export class Requests {
  readonly #context: RequestsContext;
  readonly #inbox: Inbox;
  #closed = false;

  constructor(context: RequestsContext) {
    this.#context = context;
    this.#inbox = new Inbox(context);
  }

  /** Sends a request and resolves with its answer; see the public face. */
  async request<Value, Reply>(topic: Topic<Value, Reply>, value: Value, options: RequestOptions = {}): Promise<Reply> {
    const { timeout, signal, ...record } = options;
    const withinMs = parseDurationMs(timeout ?? "30s") ?? 0;
    const { replies } = topic;
    const problems = requestProblems(options, withinMs);
    if (replies === null) problems.push({ path: "topic", message: "declares no replies, so nobody can answer" });
    if (problems.length > 0 || replies === null) {
      throw problemsError("INVALID_OPTIONS", `nothing was sent to topic ${topic.name}:`, problems);
    }
    signal?.throwIfAborted();
    this.#checkRoom(topic.name);
    const correlation = randomUUID();
    const waiting = this.#inbox.expect(correlation);
    const headers = { ...record.headers, ...askingHeaders({ inbox: this.#inbox.name, correlation, withinMs }) };
    const cancel = this.#context.clock.after(withinMs, () => waiting.reject(timedOut(topic.name, withinMs)));
    const onAbort = () => waiting.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    try {
      this.#send(topic, value, { timeToLive: withinMs, ...record, headers }).catch(waiting.reject);
      return replies.decode(answerIn(topic.name, await waiting.promise));
    } finally {
      cancel();
      signal?.removeEventListener("abort", onAbort);
      this.#inbox.forget(correlation);
    }
  }

  /** Fails what waits with CLOSED, and refuses further requests. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = "the connection was closed before the answer came; the message may still be handled";
    await this.#inbox.close(new SluiceError("CLOSED", reason));
  }

  async #send<Value>(
    topic: Topic<Value>,
    value: Value,
    record: Omit<RequestOptions, "timeout" | "signal">,
  ): Promise<void> {
    const { status } = await this.#context.producer.send(topic, value, record);
    if (status !== "duplicate") return;
    const message = `topic ${topic.name} has that message already, so this one was not sent, and nobody will answer it`;
    throw new SluiceError("REQUEST_FAILED", message, { reason: "duplicate" });
  }

  #checkRoom(topic: string): void {
    if (this.#closed) throw new SluiceError("CLOSED", `the connection is closed; nothing was sent to topic ${topic}`);
    if (this.#inbox.waiting < limits.waitingRequests) return;
    const message = `${limits.waitingRequests} requests of this process wait for their answers, which is all that may; nothing was sent to topic ${topic}`;
    throw new SluiceError("BUFFER_FULL", message);
  }
}

function requestProblems(options: RequestOptions, withinMs: number): Problem[] {
  const problems: Problem[] = [];
  if (withinMs < 1 || withinMs > limits.requestMs) {
    problems.push({ path: "timeout", message: 'must be a duration above zero and at most 1 hour, such as "5s"' });
  }
  const signal: unknown = options.signal;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    problems.push({ path: "signal", message: "must be an AbortSignal" });
  }
  for (const [path, message] of Object.entries(refusedOptions)) {
    if ((options as Readonly<Record<string, unknown>>)[path] !== undefined) problems.push({ path, message });
  }
  for (const name of askingHeaderNames) {
    if (options.headers !== undefined && Object.hasOwn(options.headers, name)) {
      problems.push({ path: `headers.${name}`, message: "is set by the request" });
    }
  }
  return problems;
}

function answerIn(topic: string, { value, failure }: KeptReply): unknown {
  if (value !== null) return JSON.parse(value);
  const why = {
    exhausted: "its last attempt failed",
    rejected: "its handler refused it",
    schema: "it does not fit the topic's schema",
    expired: "its time to live was over before its turn came",
  };
  const reason = failure ?? "exhausted";
  const message = `a request to topic ${topic} gets no answer, for its message was given up: ${why[reason]}`;
  throw new SluiceError("REQUEST_FAILED", message, { reason });
}

function timedOut(topic: string, withinMs: number): SluiceError {
  return new SluiceError(
    "REQUEST_TIMEOUT",
    `a request to topic ${topic} had no answer within ${withinMs} ms. Its message may still be handled: a handler that has begun goes on, and what it answers is dropped.`,
  );
}
