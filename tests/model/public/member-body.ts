import type { HandlerDefect, Report } from "./workload.ts";

/** What a member is started with. */
export interface MemberOptions {
  readonly kind: "app" | "process";
  readonly name: string;
  /** Straight to the server. */
  readonly url: string;
  readonly run: string;
  readonly hasLate: boolean;
  readonly defect: HandlerDefect | undefined;
}

/** What a member does its work with: an app in this process, or a process of its own. */
export interface MemberBody {
  /** Resolves when it consumes. */
  readonly started: Promise<void>;
  /** In good order. */
  close(): Promise<void>;
  /** Ends it at once, or leaves it to itself; its connections are cut by others. */
  abandon(): void;
  /** Tells it to end itself when its handlers come so far once more than `skip` times. */
  endAt(phase: Report["phase"], skip: number): void;
  /** Resolves when nothing of it is left. */
  readonly ended: Promise<void>;
}

/** What a body tells. */
export interface Listener {
  onReport(report: Report): void;
  /** It has come to where it is to end itself: whatever it does from now on counts for nothing. */
  onEndReached(): void;
}
