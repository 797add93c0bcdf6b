import { isSluiceError, toError } from "@sluice/kernel";
import type { HandlerContext } from "./context.ts";
import type { Middleware } from "./middleware.ts";

/** What {@link tracing} needs of a span; OpenTelemetry's fits. */
export interface TraceSpan {
  setAttribute(name: string, value: string | number): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): void;
  end(): void;
}

/** Where a trace came from, as the header `traceparent` tells it. */
export interface TraceLink {
  readonly context: {
    readonly traceId: string;
    readonly spanId: string;
    readonly traceFlags: number;
    readonly isRemote: true;
  };
}

/** What {@link tracing} needs of a tracer; OpenTelemetry's fits: `trace.getTracer("my-app")`. */
export interface Tracer {
  startActiveSpan<Result>(
    name: string,
    options: { kind: number; attributes: Record<string, string | number>; links: TraceLink[] },
    run: (span: TraceSpan) => Result,
  ): Result;
}

// The numbers of OpenTelemetry's SpanKind.CONSUMER and SpanStatusCode.ERROR, which are part of its API.
const consumerKind = 4;
const errorCode = 2;

/**
 * A middleware that makes a span of every handing-over, after OpenTelemetry's conventions for messaging, linked to the span
 * that the header `traceparent` (W3C Trace Context) names. The handler runs within it, so what it calls is its child.
 *
 * @example
 * app({ consumers: [welcome], use: [tracing({ tracer: trace.getTracer("signup") })] })
 */
export function tracing({ tracer }: { readonly tracer: Tracer }): Middleware {
  return (c, next) => {
    const link = parseTraceparent(c.headers["traceparent"]);
    const options = { kind: consumerKind, attributes: attributesOf(c), links: link === undefined ? [] : [link] };
    return tracer.startActiveSpan(`process ${c.topic}`, options, async (span) => {
      let isOver = false;
      const end = (outcome: string, failure?: Error) => {
        if (isOver) return;
        isOver = true;
        c.signal.removeEventListener("abort", onAbort);
        span.setAttribute("sluice.outcome", outcome);
        if (failure !== undefined) {
          span.setAttribute("error.type", isSluiceError(failure) ? failure.code : failure.name);
          span.recordException(failure);
          span.setStatus({ code: errorCode, message: failure.message });
        }
        span.end();
      };
      // A handler that never ends would leave its span open: its time limit closes it.
      const onAbort = () => {
        if (isSluiceError(c.signal.reason, "HANDLER_TIMEOUT")) end("timeout", c.signal.reason);
      };
      c.signal.addEventListener("abort", onAbort);
      try {
        await next();
        end(c.verb ?? "done");
      } catch (error) {
        end(c.verb ?? "failed", toError(error));
        throw error;
      }
    });
  };
}

function attributesOf(c: HandlerContext<unknown>): Record<string, string | number> {
  return {
    "messaging.system": "sluice",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": c.topic,
    "messaging.destination.partition.id": String(c.partition),
    "messaging.consumer.group.name": c.group,
    "messaging.message.id": c.id,
    "sluice.offset": c.offset,
    "sluice.attempt": c.attempt,
  };
}

/**
 * What a `traceparent` header says, or `undefined` where it is missing or malformed, as W3C Trace Context (level 1, 3.2)
 * tells a reader to do.
 */
export function parseTraceparent(header: string | undefined): TraceLink | undefined {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(header?.trim() ?? "");
  if (match === null) return undefined;
  const [, version, traceId = "", spanId = "", flags = "", rest] = match;
  // A later version may say more behind; this one says nothing else, and ff is none.
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { context: { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true } };
}
