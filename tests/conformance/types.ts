/**
 * What the compiler must refuse, and what it must let through. Nothing here runs: `tsc` is the test, and a line that is
 * marked as wrong but compiles is an error of its own.
 */
import {
  app,
  bytes,
  consumer,
  exponential,
  type HandlerContext,
  idempotent,
  logging,
  type Middleware,
  outgoing,
  type ReplyOf,
  type SendResult,
  type Sluice,
  schedule,
  stage,
  topic,
  type ValueOf,
} from "sluice";
import { z } from "zod";

const signups = topic("signups", {
  schema: z.object({ userId: z.string(), age: z.number().optional() }),
  key: (signup) => signup.userId,
});
const visits = topic("visits", {
  schema: z.object({
    at: z.codec(z.iso.datetime(), z.date(), { decode: (text) => new Date(text), encode: (date) => date.toISOString() }),
  }),
});
const pictures = topic("pictures", { schema: bytes() });

type Exactly<Left, Right> = (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false;

/** Types flow from the schema without an annotation. */
export const flows: readonly true[] = [
  true satisfies Exactly<ValueOf<typeof signups>, { userId: string; age?: number | undefined }>,
  true satisfies Exactly<ValueOf<typeof visits>, { at: Date }>,
];

/** Every send is checked against the topic's schema. */
export async function sends(sluice: Sluice): Promise<SendResult[]> {
  const results = [
    await sluice.send(signups, { userId: "u1", age: 3 }),
    await sluice.send(visits, { at: new Date() }),
    await sluice.send(pictures, new Uint8Array(3)),
    ...(await sluice.sendBatch(signups, [{ userId: "u1" }])),
  ];
  // @ts-expect-error: a number where the schema wants a text
  await sluice.send(signups, { userId: 1 });
  // @ts-expect-error: a field that is required is missing
  await sluice.send(signups, {});
  // @ts-expect-error: a field that the schema does not know
  await sluice.send(signups, { userId: "u1", nickname: "Ada" });
  // @ts-expect-error: one value of a batch does not fit
  await sluice.sendBatch(signups, [{ userId: "u1" }, { userId: null }]);
  // @ts-expect-error: a codec's sender gives what the schema decodes to, not its wire form
  await sluice.send(visits, { at: "2001-01-01T00:00:00Z" });
  // @ts-expect-error: text where the topic holds bytes
  await sluice.send(pictures, "picture");
  // @ts-expect-error: a callback's topic and value must belong together, too
  sluice.post(signups, { at: new Date() });
  // @ts-expect-error: a topic is a value, never a name
  await sluice.send("signups", { userId: "u1" });
  // @ts-expect-error: there is no such acknowledgement
  await sluice.send(signups, { userId: "u1" }, { acks: 2 });
  // @ts-expect-error: headers are texts
  await sluice.send(signups, { userId: "u1" }, { headers: { count: 1 } });
  await sluice.send(signups, { userId: "u1" }, { delay: "90s" });
  await sluice.send(signups, { userId: "u1" }, { deliverAt: new Date() });
  // @ts-expect-error: a duration has a unit that exists
  await sluice.send(signups, { userId: "u1" }, { delay: "3 days" });
  // @ts-expect-error: a time is a Date or a number, never a text
  await sluice.send(signups, { userId: "u1" }, { deliverAt: "2030-01-01" });
  // @ts-expect-error: post sends at once
  sluice.post(signups, { userId: "u1" }, { delay: "1s" });
  // @ts-expect-error: what has no transaction's methods is no transaction
  await sluice.send(signups, { userId: "u1" }, { tx: { begin: true } });
  return results;
}

/** A handler knows its value, and a declaration its options. */
export const declared = app({
  consumers: [
    consumer(signups, {
      group: "email",
      mode: "keyed",
      retry: { attempts: 3, backoff: exponential("1s", "5m") },
      handler: async (c) => {
        c.value.userId satisfies string;
        // @ts-expect-error: the schema has no such field
        c.value.email satisfies unknown;
        // @ts-expect-error: a message cannot be changed
        c.offset = 1;
        const tx = await c.tx();
        // @ts-expect-error: drizzle's transaction has no such method
        tx.obliterate();
      },
    }),
    consumer(visits, { group: "visits", handler: (c: HandlerContext<{ at: Date }>) => void c.value.at.getTime() }),
  ],
});

const aged: Middleware<ValueOf<typeof signups>> = async (c, next) => {
  c.value.age satisfies number | undefined;
  // @ts-expect-error: the schema has no such field
  c.value.email satisfies unknown;
  await next();
};

/** Values keep their types through middlewares, verbs and batches. */
export const around = app({
  use: [logging(), async (_, next) => await next()],
  consumers: [
    consumer(signups, {
      group: "checked",
      timeout: "30s",
      use: [aged, logging(), async (c, next) => (c.value.userId === "" ? c.reject("nobody") : await next())],
      handler: (c) => {
        c.value.userId satisfies string;
        c.send(visits, { at: new Date() }, { key: "u1" });
        // @ts-expect-error: a value of another topic
        c.send(visits, { userId: "u1" });
        // @ts-expect-error: a rejection has a reason
        c.reject();
        // @ts-expect-error: a duration has a unit that exists
        c.retry("7 days");
      },
    }),
    consumer(signups, {
      group: "together",
      batch: { size: 100, wait: "10ms" },
      batchHandler: async (b) => {
        for (const { value } of b.messages) value.userId satisfies string;
        const tx = await b.tx();
        // @ts-expect-error: drizzle's transaction has no such method
        tx.obliterate();
        // @ts-expect-error: a batch has no single value
        b.value satisfies unknown;
      },
    }),
  ],
});

/** A handler or a batch handler, each with what belongs to it. */
export function refusedHandlers(): void {
  // @ts-expect-error: a batch handler needs to know how large a batch is
  consumer(signups, { group: "g", batchHandler: () => undefined });
  // @ts-expect-error: a handler gets one message at a time
  consumer(signups, { group: "g", handler: () => undefined, batch: { size: 10 } });
  // @ts-expect-error: one of the two
  consumer(signups, { group: "g", handler: () => undefined, batchHandler: () => undefined, batch: { size: 10 } });
  // @ts-expect-error: a middleware of another topic's values
  consumer(visits, { group: "g", use: [aged], handler: () => undefined });
  // @ts-expect-error: an app's middleware fits every topic
  app({ use: [aged] });
  // @ts-expect-error: a middleware answers with a promise
  consumer(signups, { group: "g", use: [() => 7], handler: () => undefined });
}

/** A stage knows what it gets, and what each of its topics takes. */
export const staged = app({
  stages: [
    stage({ from: visits, to: signups, group: "g", map: (c) => ({ userId: c.value.at.toISOString() }) }),
    stage({ from: visits, to: [signups, pictures], group: "g2", map: () => [outgoing(pictures, new Uint8Array(1))] }),
    stage({
      from: signups,
      to: visits,
      group: "g",
      mapBatch: async (inputs, tx) => {
        await tx.execute("select 1");
        return inputs.map(({ value }) => ({ at: new Date(value.age ?? 0) }));
      },
    }),
    // @ts-expect-error: a value that the topic does not take
    stage({ from: visits, to: signups, group: "g", map: () => ({ userId: 1 }) }),
    // @ts-expect-error: of several topics, a value alone does not say which
    stage({ from: visits, to: [signups, pictures], group: "g", map: () => ({ userId: "u1" }) }),
    // @ts-expect-error: a topic that the stage does not name
    stage({ from: visits, to: [signups], group: "g", map: () => outgoing(pictures, new Uint8Array(1)) }),
    // @ts-expect-error: map or mapBatch, not both
    stage({ from: visits, to: signups, group: "g", map: () => undefined, mapBatch: () => undefined }),
  ],
});

/** A half message has a value of its topic's, and somebody to ask. */
export async function prepared(sluice: Sluice): Promise<string> {
  // @ts-expect-error: whom to ask is needed
  await sluice.prepare(signups, { userId: "u1" }, {});
  // @ts-expect-error: a number where the schema wants a text
  await sluice.prepare(signups, { userId: 1 }, { checkBack: "signups" });
  const outcome = await (await sluice.prepare(signups, { userId: "u1" }, { checkBack: "signups" })).commit();
  return outcome.outcome satisfies "committed" | "rolled-back" | "forgotten";
}

/** Options that are wrong in kind are refused before anything runs. */
export function refused(): void {
  // @ts-expect-error: a key is a text or null
  topic("a", { schema: z.object({ id: z.number() }), key: (value) => value.id });
  // @ts-expect-error: a duration has a unit that exists
  topic("b", { schema: z.string(), retention: { time: "7 days" } });
  // @ts-expect-error: a topic needs a schema
  topic("c", { partitions: 2 });
  // @ts-expect-error: there is no such mode
  consumer(signups, { group: "g", mode: "broadcast-ish", handler: () => undefined });
  // @ts-expect-error: a place is an offset or a time, not both words for one
  consumer(signups, { group: "g", start: { at: 3 }, handler: () => undefined });
  // @ts-expect-error: a consumer needs a handler
  consumer(signups, { group: "g" });
  // @ts-expect-error: a handler of another topic's values
  consumer(signups, { group: "g", handler: (c: HandlerContext<{ at: Date }>) => void c.value.at });
  // @ts-expect-error: a schedule's value fits its topic's schema
  schedule(signups, { name: "s", cron: "@daily", value: { userId: 1 } });
  // @ts-expect-error: a schedule's value is a constant
  schedule(signups, { name: "s", cron: "@daily", value: () => ({ userId: "u1" }) });
  // @ts-expect-error: an app consumes consumers, not handlers
  app({ consumers: [() => undefined] });
}

const prices = topic("prices", { schema: z.object({ article: z.string() }), replies: z.object({ price: z.number() }) });

/** Types of answers flow from the topic to who answers and who asks. */
export const answers: readonly true[] = [
  true satisfies Exactly<ReplyOf<typeof prices>, { price: number }>,
  true satisfies Exactly<ReplyOf<typeof signups>, never>,
];

export const answering = app({
  consumers: [
    consumer(prices, {
      group: "pricing",
      handler: (c) => {
        c.reply({ price: c.value.article.length });
        // @ts-expect-error: what it answers does not fit what the topic's replies are
        c.reply({ price: "7" });
      },
    }),
    consumer(prices, {
      group: "batches",
      batch: { size: 8 },
      batchHandler: ({ messages }) => {
        for (const c of messages) c.reply({ price: 1 });
        // @ts-expect-error: what it answers does not fit what the topic's replies are
        for (const c of messages) c.reply(1);
      },
    }),
    consumer(prices, {
      group: "once",
      handler: idempotent(
        (c) => c.id,
        (c) => void c.reply({ price: 1 }),
      ),
    }),
    // @ts-expect-error: the topic declares no replies, so there is nothing to answer with
    consumer(signups, { group: "mute", handler: (c) => void c.reply({ price: 1 }) }),
  ],
});

/** What is asked for has the type of the answer. */
export async function asks(sluice: Sluice): Promise<number> {
  const { price } = await sluice.request(prices, { article: "ball" }, { timeout: "5s" });
  // @ts-expect-error: the question must fit the topic's schema
  await sluice.request(prices, { article: 1 });
  // @ts-expect-error: the topic declares no replies
  await sluice.request(signups, { userId: "u1" });
  // @ts-expect-error: nobody sees the message of a transaction before it commits, so its answer would never come
  await sluice.request(prices, { article: "ball" }, { tx: undefined as never });
  return price;
}
