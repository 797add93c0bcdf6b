import { isSluiceError, type Problem, problemsError, SluiceError } from "@sluice/kernel";
import { type AnyConsumer, type ConsumerOptions, consumer } from "./consumer.ts";
import type { HandlerTransaction } from "./context.ts";
import type { ConsumedRecord, RecordOptions } from "./record.ts";
import type { AnyTopic, Topic, ValueOf } from "./topic.ts";

/** What a stage's map gets: the message, and the transaction in which everything it does commits. */
export interface StageInput<Value> extends ConsumedRecord<Value> {
  /** The group on whose behalf this runs. */
  readonly group: string;
  /** Which time it is that the message is handed over by itself, from 1 on: counted for the stage, whichever process did it. */
  readonly attempt: number;
  /** Aborted when the process must stop before map is done, or when its partition has another owner. */
  readonly signal: AbortSignal;
  /**
   * The transaction in which this message's position and what the stage produces commit. Opened at the first call, and shared
   * by the messages that are handled together: await what you write in it.
   */
  tx(): Promise<HandlerTransaction>;
}

/** A message that a stage produces, with its topic and what goes along. Make one with {@link outgoing}. */
export interface Outgoing<Target extends AnyTopic = AnyTopic> {
  readonly topic: Target;
  readonly value: ValueOf<Target>;
  readonly options: RecordOptions;
}

class OutgoingMessage<Target extends AnyTopic> implements Outgoing<Target> {
  readonly topic: Target;
  readonly value: ValueOf<Target>;
  readonly options: RecordOptions;

  constructor(topic: Target, value: ValueOf<Target>, options: RecordOptions) {
    this.topic = topic;
    this.value = value;
    this.options = options;
  }
}

/**
 * A message for a stage to produce: needed where a stage has several topics, or the message a key, headers or a partition of its
 * own.
 *
 * @example
 * map: (c) => [outgoing(invoices, { order: c.value.id }), outgoing(mails, mail, { headers: { lang: "de" } })]
 */
export function outgoing<Target extends AnyTopic>(
  topic: Target,
  value: ValueOf<Target>,
  options: RecordOptions = {},
): Outgoing<Target> {
  return new OutgoingMessage(topic, value, options);
}

/** Whether a value is an {@link Outgoing} and no plain value of a topic. */
export function isOutgoing(value: unknown): value is Outgoing {
  return value instanceof OutgoingMessage;
}

/** Where a stage's messages go: a topic, or several. */
export type StageTarget = AnyTopic | readonly AnyTopic[];

type TargetOf<To extends StageTarget> = To extends readonly AnyTopic[] ? To[number] : To extends AnyTopic ? To : never;

/** A value by itself: only with one topic, and never an array, which is many messages. */
type PlainValue<To extends StageTarget> = To extends readonly AnyTopic[]
  ? never
  : To extends Topic<infer Value>
    ? Value extends readonly unknown[]
      ? never
      : Value
    : never;

type StageEntry<To extends StageTarget> = Outgoing<TargetOf<To>> | PlainValue<To>;

/**
 * What a stage's map returns: a message, an array of messages, or nothing. An array is always many messages; a value that is
 * itself an array goes into {@link outgoing}.
 */
export type StageOutput<To extends StageTarget> = StageEntry<To> | readonly StageEntry<To>[] | undefined;

interface StageCommon<From extends AnyTopic, To extends StageTarget>
  extends Omit<
    ConsumerOptions<ValueOf<From>>,
    "handler" | "mode" | "commit" | "batch" | "batchHandler" | "use" | "timeout" | "answers"
  > {
  /**
   * `"ordered"` (the default): the messages of a partition in their order, several in one transaction. `"keyed"`: each in a transaction of
   * its own, up to `concurrency` at once, never two of one key.
   */
  readonly mode?: "ordered" | "keyed";
  /** Where messages come from. */
  readonly from: From;
  /**
   * Whether a message that the stage gives up is a failure for whoever asked with it. The answer itself is given by who consumes what the
   * stage produces: pass the question on with its headers. Default false: another group answers, or nobody. See docs/request-reply.md.
   */
  readonly answers?: boolean;
  /** Where messages go: a topic, or several; then each is made with {@link outgoing}. */
  readonly to: To;
  /**
   * Messages of a partition that are handled in one transaction, at most: 1 to 1,000, default 256. Only in mode
   * `"ordered"`; in mode `"keyed"` each has a transaction of its own, up to `concurrency` of them at once.
   */
  readonly batch?: number;
}

/** What a stage may be declared with: a consumer's options, topics, and either `map` or `mapBatch`. */
export type StageOptions<From extends AnyTopic, To extends StageTarget> = StageCommon<From, To> &
  (
    | {
        /** Makes what is to be produced of one message. Runs again when its transaction could not be committed. */
        readonly map: (
          input: StageInput<ValueOf<From>>,
        ) => StageOutput<NoInfer<To>> | Promise<StageOutput<NoInfer<To>>>;
        readonly mapBatch?: never;
      }
    | {
        /**
         * The same for up to `batch` messages at once, so that one statement can write a row for each: the fast form. Returns
         * what all of them produce. After a throw each is handed over alone.
         */
        readonly mapBatch: (
          inputs: readonly StageInput<ValueOf<From>>[],
          tx: HandlerTransaction,
        ) => StageOutput<NoInfer<To>> | Promise<StageOutput<NoInfer<To>>>;
        readonly map?: never;
      }
  );

/** A declared stage. Make one with {@link stage}. */
export interface Stage {
  /** How it consumes. Its handler is supplied by what runs the stage. */
  readonly consumer: AnyConsumer;
  /** Each once. */
  readonly targets: readonly AnyTopic[];
  /** Messages of one transaction, at most. */
  readonly batch: number;
  readonly map: ((input: StageInput<unknown>) => unknown) | undefined;
  readonly mapBatch: ((inputs: readonly StageInput<unknown>[], tx: HandlerTransaction) => unknown) | undefined;
}

/**
 * Declares a stage: consumes a topic, writes tables of yours through `c.tx()`, produces what `map` returns, and commits the
 * position, all in one transaction, so all of it happens exactly once, whatever crashes. Nothing runs until an app that
 * holds it starts.
 *
 * A throw in `map`, or a result that does not fit the topic it is for, is a failed attempt, tried again as `retry` says and kept as
 * a dead letter in the end. Nothing of a failed attempt is ever seen.
 *
 * Fails with INVALID_OPTIONS and every problem at once.
 *
 * @example
 * const cluster = stage({
 *   from: facesFound, to: clustersChanged, group: "cluster",
 *   map: async (c) => { await (await c.tx()).insert(people).values(c.value); return { personId: c.value.personId } },
 * })
 */
export function stage<From extends AnyTopic, const To extends StageTarget>(options: StageOptions<From, To>): Stage {
  const { from, to, batch, map, mapBatch, ...rest } = options;
  const mode = rest.mode ?? "ordered";
  const targets = (Array.isArray(to) ? to : [to]) as readonly AnyTopic[];
  const problems: Problem[] = [];
  const require = (holds: boolean, path: string, message: string) => {
    if (!holds) problems.push({ path, message });
  };
  require(isTopic(from), "from", "must be a topic");
  require(mode === "ordered" || mode === "keyed", "mode", 'must be "ordered" or "keyed"');
  require(targets.length >= 1 &&
    targets.every(isTopic), "to", "must be a topic, or an array of topics that is not empty");
  require(new Set(targets).size === targets.length, "to", "names a topic twice");
  require(batch === undefined ||
    (Number.isInteger(batch) && batch >= 1 && batch <= 1_000), "batch", "must be a whole number from 1 to 1,000");
  require(batch === undefined ||
    batch === 1 ||
    mode === "ordered", "batch", 'must be 1 in mode "keyed", where each message has a transaction of its own');
  require((map === undefined) !== (mapBatch === undefined), "map", "is needed, or mapBatch in its place");
  for (const [name, value] of [
    ["map", map],
    ["mapBatch", mapBatch],
  ] as const)
    require(value === undefined || typeof value === "function", name, "must be a function");
  for (const name of ["use", "timeout", "batchHandler", "commit"])
    require(!(name in rest), name, "is not for stages: several messages share a transaction there");
  const declared = isTopic(from) ? declare(from, rest, problems) : undefined;
  if (declared === undefined || problems.length > 0) {
    throw problemsError("INVALID_OPTIONS", `stage ${JSON.stringify(rest.group)} is not declared well:`, problems);
  }
  return {
    consumer: declared,
    targets,
    batch: mode === "ordered" ? (batch ?? 256) : 1,
    map: map as Stage["map"],
    mapBatch: mapBatch as Stage["mapBatch"],
  };
}

/** The consumer of a stage; what is wrong with it joins the stage's problems. */
function declare(
  from: AnyTopic,
  options: Omit<ConsumerOptions<unknown>, "handler" | "commit">,
  problems: Problem[],
): AnyConsumer | undefined {
  try {
    return consumer(from, {
      ...options,
      answers: options.answers ?? false,
      handler: () => {
        throw new SluiceError("INTERNAL", "a stage's consumer was run without its stage");
      },
    });
  } catch (error) {
    if (!isSluiceError(error, "INVALID_OPTIONS")) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

function isTopic(value: unknown): value is AnyTopic {
  return typeof value === "object" && value !== null && "codec" in value && "partitioner" in value;
}
