import type { DatabaseClock, GroupPosition, Groups, PassedOver } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import type { Log, TopicEntry } from "@sluice/log";
import type { StageRunner } from "../stage/stage-runner.ts";
import type { GatheredRetries } from "./gathered-retries.ts";
import type { QueueLane } from "./lane-gate.ts";
import type { DeliveryServices } from "./message.ts";
import type { PaceInForce } from "./pace-in-force.ts";
import type { PauseContext } from "./partition-pause.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** What a partition's consumer works with. */
export interface PartitionConsumerContext extends PauseContext, DeliveryServices {
  readonly log: Log;
  readonly groups: Groups;
  readonly gathered: GatheredRetries;
  readonly passedOver: PassedOver;
  readonly databaseClock: DatabaseClock;
  /** Writes its position now; rejects with FENCED when it has another owner. */
  readonly commitNow: () => Promise<void>;
  /** Called once when it finds that the partition has another owner. */
  readonly onFenced: () => void;
}

/** Which partition it is, of which topic and for whom. */
export interface PartitionHome extends GroupPosition {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  /** Set where it is one of several lanes, of which the more urgent go first. */
  readonly lane: QueueLane | undefined;
  /** How fast the consumer may go at present; whoever changes that says so: see `PartitionConsumer.heedPace`. */
  readonly pace: PaceInForce;
  readonly rateLimiter: RateLimiter;
  /** Set when it is a stage's. */
  readonly runner?: StageRunner;
}
