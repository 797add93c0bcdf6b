import { renewLease } from "@sluice/broker";
import { type Clock, type Logger, toError } from "@sluice/kernel";
import type { Presence } from "@sluice/store";

/** How a member's heart beats. */
export interface HeartbeatOptions {
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Renews a member's lease over its session until that ends, or the result is called. A beat that fails is logged; the next may not. Where the
 * lease is all that the membership hangs on, it is lost when the database says so, and when nobody could be asked for as long as it runs.
 */
export function beat(session: Presence, member: number, options: HeartbeatOptions): () => void {
  const { leaseMs, heartbeatMs, clock, logger } = options;
  let stopped = false;
  let cancel = () => {};
  let renewedAt = clock.now();
  const heed = (isRenewed: boolean) => {
    if (isRenewed || stopped || !session.isOpen) return;
    logger.log("warn", "this process is no member any more; it begins again", { member });
    session.lose();
  };
  const next = () => {
    if (stopped || !session.isOpen) return;
    const askedAt = clock.now();
    renewLease(session, member, leaseMs).then(
      (isRenewed) => {
        renewedAt = askedAt;
        heed(isRenewed);
        schedule();
      },
      (error: unknown) => {
        if (stopped || !session.isOpen) return;
        logger.log("warn", "the heartbeat failed", { error: toError(error) });
        if (session.isLeased) heed(clock.now() - renewedAt < leaseMs);
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
