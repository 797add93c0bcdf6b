import { type Batching, batchOf, compose, type HandlerContext } from "@sluice/contract";
import { SluiceError, toError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import { complete, type DeliveryOwner, logOverruled, type Outcome, timeLimitOf, undo } from "./delivery.ts";
import type { OpenTransaction } from "./handler-transaction.ts";
import { Message } from "./message.ts";

/** A record that is handed over with others. */
export interface BatchEntry {
  readonly batch: ReadBatch;
  readonly index: number;
}

/** To be handed over again, alone, and at once: nobody knows whose failure it was, so it costs nobody an attempt. */
const alone = "alone" as const;

/**
 * Hands records of one partition over together, for the first time; gives what became of each, in their order. One that is
 * not done is to be handed over alone from then on. Never rejects.
 */
export async function deliverTogether(
  owner: DeliveryOwner,
  entries: readonly BatchEntry[],
): Promise<(Outcome | "alone")[]> {
  const transaction = new BatchTransaction(owner);
  const limit = timeLimitOf(owner);
  const slots = entries.map(({ batch, index }): Message | Outcome => {
    try {
      const value = owner.consumer.topic.codec.decode(batch.values[index]);
      return new BatchMessage(owner, batch, index, 1, value, limit, transaction);
    } catch (error) {
      return { kind: "misfit", error };
    }
  });
  const messages = slots.filter((slot) => slot instanceof Message);
  let failure: Error | undefined;
  try {
    const running = handOver(owner, messages);
    await (limit === undefined ? running : limit.bound(running));
  } catch (error) {
    failure = toError(error);
  }
  limit?.end();
  for (const message of messages) message.end();
  const undecided = messages.filter((message) => message.decision === undefined);
  const outcome = await conclude(owner, transaction.opening, undecided, failure);
  return slots.map((slot) => {
    if (!(slot instanceof Message)) return slot;
    if (failure !== undefined && slot.decision !== undefined) logOverruled(owner, slot, failure);
    return outcome !== alone && outcome.kind === "fenced" ? outcome : (slot.decision ?? outcome);
  });
}

/** What became of the messages that got no verb: all of them the same. */
async function conclude(
  owner: DeliveryOwner,
  opening: Promise<OpenTransaction> | undefined,
  undecided: readonly Message[],
  failure: Error | undefined,
): Promise<Outcome | "alone"> {
  if (failure === undefined && undecided.length > 0) {
    const outcome = await complete(owner, undecided, opening);
    if (outcome.kind !== "failed") return outcome;
    logFailure(owner, undecided, toError(outcome.error));
    return alone;
  }
  if (failure !== undefined) logFailure(owner, undecided, failure);
  return opening === undefined ? alone : await undo(opening, alone);
}

function logFailure(
  { consumer, partition, services: { logger } }: DeliveryOwner,
  undecided: readonly Message[],
  error: Error,
) {
  if (undecided.length === 0) return;
  logger.log("info", "a batch failed; its messages are handed over one by one", {
    topic: consumer.topic.name,
    group: consumer.group,
    partition,
    messages: undecided.length,
    from: undecided[0]?.offset,
    error,
  });
}

/** Every message goes through the middlewares by itself; behind them they meet in the batch handler. Rejects with the first failure. */
async function handOver(owner: DeliveryOwner, messages: readonly Message[]): Promise<void> {
  const { batching, use } = owner.consumer;
  if (batching === undefined) throw new SluiceError("INTERNAL", "a consumer without batches got one");
  const meeting = new Meeting(batching, messages.length);
  const handler = compose<unknown>(use, (message) => meeting.join(message));
  const settled = await Promise.allSettled(
    messages.map(async (message) => {
      try {
        await handler(message);
      } finally {
        meeting.leave(message);
      }
    }),
  );
  const failed = settled.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** Where the messages of a batch wait for each other. The handler runs when each has come, or has ended without coming. */
class Meeting {
  readonly #batching: Batching<unknown>;
  readonly #joined = new Set<HandlerContext<unknown>>();
  readonly #outcome = Promise.withResolvers<void>();
  #expected: number;

  constructor(batching: Batching<unknown>, expected: number) {
    this.#batching = batching;
    this.#expected = expected;
  }

  /** Resolves, or rejects, as the handler does. */
  join(message: HandlerContext<unknown>): Promise<void> {
    this.#joined.add(message);
    this.#arrive();
    return this.#outcome.promise;
  }

  /** The message's way has ended; nobody need wait for it if it did not come. */
  leave(message: HandlerContext<unknown>): void {
    if (!this.#joined.has(message)) this.#arrive();
  }

  #arrive(): void {
    this.#expected -= 1;
    const messages = [...this.#joined].sort((left, right) => left.offset - right.offset);
    const first = messages[0];
    if (this.#expected > 0 || first === undefined) return;
    const handle = async () => await this.#batching.handler(batchOf(messages, first));
    handle().then(this.#outcome.resolve, this.#outcome.reject);
  }
}

/** The transaction that the messages of a batch share. */
class BatchTransaction {
  readonly #owner: DeliveryOwner;
  #opening: Promise<OpenTransaction> | undefined;

  constructor(owner: DeliveryOwner) {
    this.#owner = owner;
  }

  /** It, if somebody asked for it. */
  get opening(): Promise<OpenTransaction> | undefined {
    return this.#opening;
  }

  open(): Promise<OpenTransaction> {
    this.#owner.commitBegins?.();
    this.#opening ??= this.#owner.services.transactions.open();
    return this.#opening;
  }
}

/** A message of a batch: its transaction is the batch's. */
class BatchMessage extends Message {
  readonly #shared: BatchTransaction;

  constructor(
    ...[owner, batch, index, attempt, value, limit, shared]: [
      ...ConstructorParameters<typeof Message>,
      BatchTransaction,
    ]
  ) {
    super(owner, batch, index, attempt, value, limit);
    this.#shared = shared;
  }

  override async commit(): Promise<void> {
    throw new SluiceError("HANDLER_MISUSE", "c.commit() had no effect: a batch is done when its handler returns");
  }

  protected override openTransaction(): Promise<OpenTransaction> {
    return this.#shared.open();
  }
}
