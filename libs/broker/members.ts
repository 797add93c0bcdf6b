import { SluiceError } from "@sluice/kernel";
import type { Pool, Presence } from "@sluice/store";
import type { Assignment } from "./assignment.ts";
import addStatement from "./sql/add-member.sql" with { type: "text" };
import claimStatement from "./sql/claim-member.sql" with { type: "text" };
import dropCarriedStatement from "./sql/drop-carried.sql" with { type: "text" };
import removeDeadStatement from "./sql/remove-dead-members.sql" with { type: "text" };
import removeStatement from "./sql/remove-member.sql" with { type: "text" };
import renewStatement from "./sql/renew-lease.sql" with { type: "text" };
import subscribeStatement from "./sql/subscribe.sql" with { type: "text" };
import unsubscribeStatement from "./sql/unsubscribe.sql" with { type: "text" };

/** Makes the process behind `session` a member that lives while that is open, and gives its number. */
export async function addMember(session: Presence, name: string, leaseMs: number): Promise<number> {
  const rows = await session.query<{ member: number }>("becoming a member", addStatement, [
    name,
    session.backendPid,
    leaseMs,
    session.isLeased,
  ]);
  return await live(session, rows[0]?.member);
}

/** Who claims to be a static member. */
export interface StaticClaim {
  /** The name that it keeps over a restart. */
  readonly staticId: string;
  /** Its own mark, other than that of any other process. */
  readonly process: string;
  /** Whether it was this member before: then one that has claimed the name since is not thrown out, but throws this one out. */
  readonly again: boolean;
}

/**
 * As {@link addMember}, for a static member: it has what the process had that was this member before, and one that still is loses its
 * session. Fails with FENCED when another process has become this member since (`again`).
 */
export async function claimMember(
  session: Presence,
  name: string,
  leaseMs: number,
  { staticId, process, again }: StaticClaim,
): Promise<number> {
  const parameters = [staticId, process, name, session.backendPid, leaseMs, again, session.isLeased];
  const rows = await session.query<{ member: number }>("becoming a static member", claimStatement, parameters);
  return await live(session, rows[0]?.member);
}

async function live(session: Presence, member: number | undefined): Promise<number> {
  if (member === undefined) throw new SluiceError("INTERNAL", "becoming a member: the database gave no number");
  if (!(await session.tryLock("member", member))) {
    throw new SluiceError("INTERNAL", `becoming a member: number ${member} is locked by another session`);
  }
  return member;
}

/** How a member takes part. */
export interface SubscribeOptions {
  /** One member is to own all of the topic's partitions. Default false. */
  readonly singleActive?: boolean;
  /** How it wants the group's partitions assigned. Default `"sticky"`. */
  readonly assignment?: Assignment;
}

/** Takes part in a group for a topic. */
export async function subscribe(
  session: Presence,
  member: number,
  group: number,
  topic: number,
  { singleActive = false, assignment = "sticky" }: SubscribeOptions = {},
): Promise<void> {
  await session.query("subscribing", subscribeStatement, [member, group, topic, singleActive, assignment]);
}

/** A static member has said all that it takes part in: what the process before it took part in besides is over. */
export async function dropCarried(session: Presence, member: number): Promise<void> {
  await session.query("subscribing", dropCarriedStatement, [member]);
}

/** Takes part in nothing any more; what it has goes to others as it gives it back. */
export async function unsubscribe(session: Presence, member: number): Promise<void> {
  await session.query("leaving", unsubscribeStatement, [member]);
}

/**
 * Renews the lease over the member's own session, which also keeps the server from ending it. Resolves with whether it is renewed: not
 * when the member is gone or was replaced, nor, where it lives by its lease, when that has run out.
 */
export async function renewLease(session: Presence, member: number, leaseMs: number): Promise<boolean> {
  // Nobody who waits for longer than the lease still has it.
  const deadlineMs = Math.min(10_000, leaseMs);
  return (await session.query("renewing the lease", renewStatement, [member, leaseMs], deadlineMs)).length > 0;
}

/** Leaves for good. */
export async function removeMember(session: Presence, member: number): Promise<void> {
  await session.query("leaving", removeStatement, [member]);
}

/** Removes what members left behind whose sessions are gone, or whose leases have run out. */
export async function removeDeadMembers(pool: Pool): Promise<void> {
  await pool.query("removing dead members", removeDeadStatement);
}
