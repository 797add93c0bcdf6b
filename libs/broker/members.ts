import { SluiceError } from "@sluice/kernel";
import type { Pool, Presence } from "@sluice/store";
import addStatement from "./sql/add-member.sql" with { type: "text" };
import removeDeadStatement from "./sql/remove-dead-members.sql" with { type: "text" };
import removeStatement from "./sql/remove-member.sql" with { type: "text" };
import renewStatement from "./sql/renew-lease.sql" with { type: "text" };
import subscribeStatement from "./sql/subscribe.sql" with { type: "text" };

/** Makes the process behind `session` a member that lives while that is open, and gives its number. */
export async function addMember(session: Presence, name: string, leaseMs: number): Promise<number> {
  const rows = await session.query<{ member: number }>("becoming a member", addStatement, [
    name,
    session.backendPid,
    leaseMs,
    session.isLeased,
  ]);
  const member = rows[0]?.member;
  if (member === undefined) throw new SluiceError("INTERNAL", "becoming a member: the database gave no number");
  if (!(await session.tryLock("member", member))) {
    throw new SluiceError("INTERNAL", `becoming a member: number ${member} is locked by another session`);
  }
  return member;
}

/** Takes part in a group for a topic, whose partitions one member is to own (`singleActive`) or all. */
export async function subscribe(
  session: Presence,
  member: number,
  group: number,
  topic: number,
  singleActive = false,
): Promise<void> {
  await session.query("subscribing", subscribeStatement, [member, group, topic, singleActive]);
}

/**
 * Renews the lease over the member's own session, which also keeps the server from ending it. Resolves with whether it is renewed: not
 * when the member is gone, nor, where it lives by its lease, when that has run out.
 */
export async function renewLease(session: Presence, member: number, leaseMs: number): Promise<boolean> {
  // An answer that comes after the lease has run out is none.
  const deadlineMs = session.isLeased ? Math.min(leaseMs, 10_000) : 10_000;
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
