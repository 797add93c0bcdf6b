import type { AnyTopic, RecordOptions, Topic } from "@sluice/contract";
import { limits, SluiceError } from "@sluice/kernel";
import type { UserTransaction } from "@sluice/store";
import { encodeRecord } from "../producer/encode.ts";
import type { Producer } from "../producer/producer.ts";

interface HeldSend {
  readonly topic: AnyTopic;
  readonly value: unknown;
  readonly options: RecordOptions;
}

/** What a handler sent and nobody may see before it has ended well. */
export class HeldSends {
  readonly #sends: HeldSend[] = [];

  /** Checks and keeps one. Fails as encoding does, and with BUFFER_FULL beyond the limit. */
  add<Value>(topic: Topic<Value>, value: Value, options: RecordOptions): void {
    if (this.#sends.length >= limits.heldSends) {
      throw new SluiceError(
        "BUFFER_FULL",
        `c.send() holds ${limits.heldSends} messages of one handing-over at most; nothing was sent`,
      );
    }
    encodeRecord(topic, value, options);
    this.#sends.push({ topic, value, options });
  }

  /**
   * Sends all in the order in which they were given: within `tx`, or each with `acks: "all"`. Resolves when every one is
   * settled; fails with the first failure.
   */
  async send(producer: Producer, tx: UserTransaction | undefined): Promise<void> {
    const how = tx === undefined ? { acks: "all" as const } : { tx };
    const settled = await Promise.allSettled(
      this.#sends.map(({ topic, value, options }) => producer.send(topic, value, { ...options, ...how })),
    );
    const failure = settled.find((outcome) => outcome.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  }
}
