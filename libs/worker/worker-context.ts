import type { Doorbell, Groups } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import type { Log, TopicEntry } from "@sluice/log";
import type { Pool, Silence } from "@sluice/store";
import type { DeliveryServices } from "./consumer/message.ts";
import type { OpenStage } from "./stage/stage-runner.ts";

/** How a worker lives. */
export interface WorkerOptions {
  /** Shown in sluice.members. */
  readonly name: string;
  /** A member that is not heard of for this long has lost its partitions. Longer than the heartbeat. */
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  /** The name under which it keeps its partitions over a restart. Default: none, and others take them at once. */
  readonly staticId?: string;
  /** How long handlers get to finish when their partition is taken away or the worker closes. */
  readonly drainMs: number;
  /** How often to look for records that no doorbell told of. */
  readonly pollMs: number;
}

/** A consumer with its topic as the database knows it and its group's number. */
export interface JoinedConsumer {
  readonly consumer: AnyConsumer;
  readonly entry: TopicEntry;
  readonly group: number;
  /** Set when it is the consumer of a stage. */
  readonly stage?: OpenStage;
}

/** A worker's surroundings. */
export interface WorkerContext extends DeliveryServices {
  /** Where a session is had; undefined where there is none: the worker then lives by its lease. */
  readonly sessionUrl: string | undefined;
  /** What tells when calls are never answered. Default: the session's own. */
  readonly silence?: Silence;
  readonly pool: Pool;
  readonly log: Log;
  readonly groups: Groups;
  readonly doorbell: Doorbell;
}
