import { expect, test } from "bun:test";
import { SluiceError } from "@sluice/kernel";
import type { HandlerContext, Verb } from "./context.ts";
import { logging } from "./logging.ts";
import { compose } from "./middleware.ts";
import { parseTraceparent, type Tracer, type TraceSpan, tracing } from "./tracing.ts";

const abort = new AbortController();

function context(verb?: Verb): HandlerContext<unknown> {
  const told = { topic: "orders", partition: 3, offset: 7, group: "g", attempt: 2, id: "1-7", verb };
  const headers = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
  return { ...told, headers, signal: abort.signal } as unknown as HandlerContext<unknown>;
}

class RecordingTracer implements Tracer {
  readonly spans: Record<string, unknown>[] = [];

  startActiveSpan<Result>(name: string, options: object, run: (span: TraceSpan) => Result): Result {
    const record: Record<string, unknown> = { name, ...options, ended: 0 };
    this.spans.push(record);
    return run({
      setAttribute: (key, value) => Object.assign(record, { [key]: value }),
      setStatus: (status) => Object.assign(record, { status }),
      recordException: (error) => Object.assign(record, { exception: error.message }),
      end: () => Object.assign(record, { ended: (record["ended"] as number) + 1 }),
    });
  }
}

test("[A4] a span per handing-over, after OpenTelemetry's conventions, linked to the sender's", async () => {
  const tracer = new RecordingTracer();
  const inside: unknown[] = [];
  await compose([tracing({ tracer })], () => void inside.push(tracer.spans.length))(context());
  expect(inside).toEqual([1]);
  expect(tracer.spans).toEqual([
    {
      name: "process orders",
      kind: 4,
      attributes: {
        "messaging.system": "sluice",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": "3",
        "messaging.consumer.group.name": "g",
        "messaging.message.id": "1-7",
        "sluice.offset": 7,
        "sluice.attempt": 2,
      },
      links: [
        {
          context: {
            traceId: "0af7651916cd43dd8448eb211c80319c",
            spanId: "b7ad6b7169203331",
            traceFlags: 1,
            isRemote: true,
          },
        },
      ],
      ended: 1,
      "sluice.outcome": "done",
    },
  ]);
});

test("[A4] a span tells of a failure, with its code, and of a verb", async () => {
  const tracer = new RecordingTracer();
  const failing = compose([tracing({ tracer })], () => Promise.reject(new SluiceError("BUFFER_FULL", "full")));
  await expect(Promise.resolve(failing(context()))).rejects.toThrow("full");
  await compose([tracing({ tracer })], () => undefined)(context("reject"));
  expect(tracer.spans[0]).toMatchObject({
    "sluice.outcome": "failed",
    "error.type": "BUFFER_FULL",
    exception: "full",
    status: { code: 2, message: "full" },
    ended: 1,
  });
  expect(tracer.spans[1]).toMatchObject({ "sluice.outcome": "reject", ended: 1 });
});

test("[A4] traceparent is read as W3C Trace Context says, and what is malformed is none", () => {
  const [trace, span] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  const read = (header: string | undefined) => parseTraceparent(header)?.context.traceFlags;
  expect(read(`00-${trace}-${span}-00`)).toBe(0);
  expect(read(` cc-${trace}-${span}-01-what-the-future-brings `)).toBe(1);
  for (const wrong of [
    undefined,
    "",
    "nonsense",
    `ff-${trace}-${span}-01`,
    `00-${trace}-${span}-01-more`,
    `00-${"0".repeat(32)}-${span}-01`,
    `00-${trace}-${"0".repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${trace}-${span}-1`,
  ])
    expect(read(wrong)).toBeUndefined();
});

test("[A4] logging writes one line per handing-over, and builds none that nobody reads", async () => {
  const lines: Record<string, unknown>[] = [];
  let isEnabled = true;
  const logger = {
    isEnabled: () => isEnabled,
    log: (level: string, _: string, fields: object = {}) => lines.push({ level, ...fields }),
  };
  const handled = compose([logging({ logger })], () => undefined);
  await handled(context());
  await handled(context("release"));
  const failing = compose([logging({ logger })], () => Promise.reject(new Error("no")));
  await expect(Promise.resolve(failing(context()))).rejects.toThrow("no");
  isEnabled = false;
  await handled(context());
  const common = { level: "debug", topic: "orders", partition: 3, offset: 7, group: "g", attempt: 2 };
  expect(lines).toMatchObject([
    { ...common, outcome: "done" },
    { ...common, outcome: "release" },
    { ...common, outcome: "failed" },
  ]);
  expect(lines.every(({ durationMs }) => typeof durationMs === "number")).toBe(true);
});
