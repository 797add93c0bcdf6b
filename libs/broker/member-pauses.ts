import type { Pool, Presence } from "@sluice/store";
import keepStatement from "./sql/keep-member-paused.sql" with { type: "text" };
import lookStatement from "./sql/member-pause.sql" with { type: "text" };

/** The pause of a member. */
export interface MemberPause {
  readonly atMs: number;
  readonly by: string;
  readonly reason: string | null;
}

/** The pause of a member; `undefined` when it is not paused, `"gone"` when it is no member any more. */
export async function memberPause(pool: Pool, member: number): Promise<MemberPause | "gone" | undefined> {
  const [row] = await pool.query<{
    paused_at_ms: string | null;
    paused_by: string | null;
    paused_reason: string | null;
  }>("asking whether the member is paused", lookStatement, [member]);
  if (row === undefined) return "gone";
  if (row.paused_at_ms === null) return undefined;
  return { atMs: Number(row.paused_at_ms), by: row.paused_by ?? "", reason: row.paused_reason };
}

/** A process that was paused is another member now: it stays paused. */
export async function keepMemberPaused(session: Presence, member: number, pause: MemberPause): Promise<void> {
  await session.query("staying paused", keepStatement, [member, pause.atMs, pause.by, pause.reason]);
}
