import type { Duration } from "@sluice/kernel";
import type { RecordOptions } from "./record.ts";

/** What a check-back says: commit, roll back, or that it cannot tell yet. */
export type CheckBackDecision = "commit" | "rollback" | "unknown";

/** A half message that nobody has decided on in time, as a check-back sees it. */
export interface HalfMessageInfo {
  readonly id: string;
  readonly topic: string;
  readonly partition: number;
  readonly key: string | null;
  readonly headers: Readonly<Record<string, string>>;
  /** As JSON, not decoded by the topic's schema. */
  readonly value: unknown;
  /** How often was asked, this time included. */
  readonly checks: number;
  /** Milliseconds since 1970, the database's clock. */
  readonly preparedAt: number;
}

/**
 * Says what became of the work that a half message was prepared for: a function, or the URL of an endpoint that gets
 * `{ id, topic, key, headers }` by POST and answers `{ "decision": "commit" | "rollback" | "unknown" }`, both within ten
 * seconds. Whatever else happens means "unknown".
 */
export type CheckBack = ((half: HalfMessageInfo) => CheckBackDecision | Promise<CheckBackDecision>) | string;

/** What a half message may be prepared with. */
export interface PrepareOptions extends RecordOptions {
  /**
   * Whom to ask when neither commit nor rollback comes in time: the name of a check-back of some app, or the URL of an endpoint
   * at an origin that some app allows by `checkBackOrigins`.
   */
  readonly checkBack: string;
  /** How long to wait before the first check, 100 ms to 7 days; default one minute. Doubles between checks, up to an hour. */
  readonly timeout?: Duration;
  /** How often to ask, at most: 1 to 1,000, default 15. */
  readonly maxChecks?: number;
  /**
   * After the last check that could not tell: `"keep"` (the default) leaves it in `sluice.half_messages` for a human to decide,
   * `"rollback"` discards it.
   */
  readonly onUndecided?: "keep" | "rollback";
}

/** What a half message is, after commit or rollback. */
export interface HalfOutcome {
  /** `"forgotten"`: decided more than a week ago, or there never was one of this id. */
  readonly outcome: "committed" | "rolled-back" | "forgotten";
  /** Whether it was this call that decided; else somebody else had, the other way round perhaps. */
  readonly decided: boolean;
  /** The message's id in the log, when it is committed. */
  readonly messageId: string | null;
}

/**
 * A message that is kept but seen by nobody until it is committed. Both calls may be repeated, by any process; the first of them
 * decides, and the others are told what it was.
 */
export interface HalfMessage {
  /** Keep it to decide after a restart: `sluice.half(id)`. */
  readonly id: string;
  /** Lets it enter the log. Fails as any call to the database does; then call it again, or leave it to the check-back. */
  commit(): Promise<HalfOutcome>;
  /** Discards it. Fails in the same way. */
  rollback(): Promise<HalfOutcome>;
}
