import { renewLease } from "@sluice/broker";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import type { Session } from "@sluice/store";

/** How a member's heart beats. */
export interface HeartbeatOptions {
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Renews a member's lease over its session until that ends, or the result is called. A beat that fails is logged; the next may not. */
export function beat(session: Session, member: number, options: HeartbeatOptions): () => void {
  const { leaseMs, heartbeatMs, clock, logger } = options;
  let stopped = false;
  let cancel = () => {};
  const next = () => {
    if (stopped || !session.isOpen) return;
    renewLease(session, member, leaseMs).then(
      () => schedule(),
      (error: unknown) => {
        if (stopped || !session.isOpen) return;
        logger.log("warn", "the heartbeat failed", { error: toError(error) });
        schedule();
      },
    );
  };
  const schedule = () => {
    if (!stopped) cancel = clock.after(heartbeatMs, next);
  };
  schedule();
  return () => {
    stopped = true;
    cancel();
  };
}
