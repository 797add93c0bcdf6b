import type { Reply } from "@sluice/broker";
import type {
  AnyConsumer,
  Handler,
  HandlerContext,
  HandlerTransaction,
  RecordOptions,
  RetryOptions,
  Topic,
  Verb,
} from "@sluice/contract";
import { type Clock, type Duration, type Logger, SluiceError } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import { BatchRecord } from "../batch-record.ts";
import type { Producer } from "../producer/producer.ts";
import { type Answers, replyOf } from "./answers.ts";
import { type Decision, extensionMs, rejectDecision, releaseDecision, retryDecision, verbOf } from "./decision.ts";
import type { HandlerTransactions, OpenTransaction } from "./handler-transaction.ts";
import { HeldSends } from "./held-sends.ts";
import type { TimeLimit } from "./time-limit.ts";

/** What handing over works with. */
export interface DeliveryServices {
  readonly transactions: HandlerTransactions;
  /** For what handlers send. */
  readonly producer: Producer;
  /** For what they answer. */
  readonly answers: Answers;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** What a message needs of the partition it is from. */
export interface MessageHome {
  readonly consumer: AnyConsumer;
  /** The consumer's handler with the middlewares around it. */
  readonly handler: Handler<unknown>;
  readonly partition: number;
  readonly signal: AbortSignal;
  readonly services: DeliveryServices;
  /**
   * Something begins that may do a message although its answer is lost: a transaction of its handler, or giving it up. What fails from then
   * on may be done. Absent where that is asked of the database anyway.
   */
  commitBegins?(): void;
  /** Writes the position now, with everything up to `offset` of this message counted as done. */
  commitNow(offset: number): Promise<void>;
}

/** What a handler has said of its message so far. */
interface Said {
  decision?: Decision;
  held?: HeldSends;
  reply?: Reply;
  isCommitted?: true;
}

/** One handing-over of one record: the context that a handler gets. */
export class Message extends BatchRecord<unknown> implements HandlerContext<unknown> {
  readonly #home: MessageHome;
  readonly attempt: number;
  readonly #limit: TimeLimit | undefined;
  #transaction: Promise<OpenTransaction> | undefined;
  /** Made at the first verb: most messages need none, and a field less is felt in the fastest handlers. */
  #said: Said | undefined;
  #ended = false;

  /**
   * @param value decoded by the topic's schema
   * @param limit the consumer's time limit, if it has one
   */
  constructor(
    home: MessageHome,
    batch: ReadBatch,
    index: number,
    attempt: number,
    value: unknown,
    limit: TimeLimit | undefined,
  ) {
    super(home.consumer.topic.name, home.partition, batch, index, value);
    this.#home = home;
    this.attempt = attempt;
    this.#limit = limit;
  }

  get group(): string {
    return this.#home.consumer.group;
  }

  get signal(): AbortSignal {
    return this.#limit === undefined ? this.#home.signal : this.#limit.signal;
  }

  get verb(): Verb | undefined {
    const { decision } = this;
    return decision === undefined ? undefined : verbOf(decision);
  }

  /** What the handler decided; `undefined` means that returning is done and throwing is failing. */
  get decision(): Decision | undefined {
    return this.#said?.decision;
  }

  /** What it sent, to be sent for good when it has ended well. */
  get held(): HeldSends | undefined {
    return this.#said?.held;
  }

  /** What it answered, to be sent when it has ended well; nothing when nobody asked. */
  get answer(): readonly Reply[] {
    const reply = this.#said?.reply;
    return reply === undefined ? [] : [reply];
  }

  async tx(): Promise<HandlerTransaction> {
    this.#checkOpen("c.tx()", "CLOSED");
    this.#transaction ??= this.openTransaction();
    const { tx } = await this.#transaction;
    // Opening takes a while, and the time limit may have passed meanwhile.
    this.#checkOpen("c.tx()", "CLOSED");
    return tx as HandlerTransaction;
  }

  async commit(): Promise<void> {
    this.#checkUndecided("c.commit()");
    if (this.#transaction !== undefined) {
      throw new SluiceError(
        "INVALID_OPTIONS",
        "c.commit() and c.tx() exclude each other: the transaction commits the position",
      );
    }
    this.#say({ isCommitted: true });
    await this.#home.commitNow(this.offset);
  }

  retry(after?: Duration | RetryOptions): void {
    this.#checkUndecided("c.retry()");
    this.#say({ decision: retryDecision(after) });
  }

  reject(reason: string): void {
    this.#checkUndecided("c.reject()");
    this.#say({ decision: rejectDecision(reason) });
  }

  release(after: Duration = "1s"): void {
    this.#checkUndecided("c.release()");
    this.#say({ decision: releaseDecision(after) });
  }

  send<Sent>(topic: Topic<Sent>, value: Sent, options: RecordOptions = {}): void {
    this.#checkOpen("c.send()");
    if (this.decision !== undefined) this.#refuse("c.send()", `c.${this.verb}() was called, which undoes it`);
    const held = this.held ?? new HeldSends();
    held.add(topic, value, options);
    this.#say({ held });
  }

  reply(value: unknown): boolean {
    this.#checkOpen("c.reply()");
    if (this.decision !== undefined) this.#refuse("c.reply()", `c.${this.verb}() was called, which undoes it`);
    if (this.#said?.reply !== undefined) this.#refuse("c.reply()", "it was called before, and the first answer counts");
    const reply = replyOf(this.#home.consumer, this.headers, value);
    if (reply !== undefined) this.#say({ reply });
    return reply !== undefined;
  }

  extend(duration: Duration): void {
    this.#checkOpen("c.extend()");
    const durationMs = extensionMs(duration);
    this.#limit?.extend(durationMs);
  }

  /** The transaction that the handler opened, if it did; from now on it can open none, and decide nothing. */
  end(): Promise<OpenTransaction> | undefined {
    this.#ended = true;
    return this.#transaction;
  }

  /** Whether nothing was opened and no verb called, so that returning is all there is to it. */
  get isPlain(): boolean {
    return this.#said === undefined && this.#transaction === undefined;
  }

  /** Opens a transaction of the message's own. */
  protected openTransaction(): Promise<OpenTransaction> {
    this.#home.commitBegins?.();
    return this.#home.services.transactions.open();
  }

  #say(said: Said): void {
    this.#said = { ...this.#said, ...said };
  }

  #checkOpen(call: string, code: "CLOSED" | "HANDLER_MISUSE" = "HANDLER_MISUSE"): void {
    if (!this.#ended && this.#limit?.isOver !== true) return;
    throw new SluiceError(
      code,
      `${call} was called after the handler had ended, or its time was over; it had no effect`,
    );
  }

  #checkUndecided(call: string): void {
    this.#checkOpen(call);
    if (this.decision !== undefined) this.#refuse(call, `c.${this.verb}() came first, and the first verb wins`);
    if (this.#said?.isCommitted) this.#refuse(call, "c.commit() came first, and the message is done");
  }

  #refuse(call: string, why: string): never {
    throw new SluiceError("HANDLER_MISUSE", `${call} had no effect: ${why}`);
  }
}
