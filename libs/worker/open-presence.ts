import { LeasedPresence, type Pool, type Presence, Session, type Silence } from "@sluice/store";

/** How a member's presence is had. */
export interface PresenceOptions {
  /** Where a session is had; undefined where none is, behind a pooler. */
  readonly sessionUrl: string | undefined;
  /** What tells when calls are never answered. Default: the session's own. */
  readonly silence?: Silence;
  readonly pool: Pool;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  readonly leaseMs: number;
  /** A doorbell rang. Without a session none ever does: everything is found by polling. */
  readonly onNotify: (payload: string) => void;
  readonly onLost: () => void;
}

/** Opens what the membership hangs on: a session where there is one, else the lease of the member's row. Fails as any call to the database does. */
export async function openPresence({ sessionUrl, pool, ...options }: PresenceOptions): Promise<Presence> {
  return sessionUrl === undefined ? new LeasedPresence(pool, options.onLost) : await Session.open(sessionUrl, options);
}
