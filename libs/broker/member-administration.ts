import { problemsError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import listStatement from "./sql/list-members.sql" with { type: "text" };
import pauseStatement from "./sql/pause-member.sql" with { type: "text" };
import resumeStatement from "./sql/resume-member.sql" with { type: "text" };

/** A process that consumes, as sluice.members shows it. */
export interface MemberStatus {
  readonly member: number;
  readonly name: string;
  /** Whether its session is there. */
  readonly live: boolean;
  /** Partitions that it owns, of all groups. */
  readonly partitions: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Since when (milliseconds since 1970), by whom and why; `undefined` when it is not paused. */
  readonly paused: { readonly since: number; readonly by: string; readonly reason: string | null } | undefined;
}

/** The processes that consume. Every act is in sluice.audits, written in its transaction. */
export class MemberAdministration {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** All of them, the oldest first. */
  async list(): Promise<readonly MemberStatus[]> {
    const rows = await this.#pool.query<{
      member: number;
      name: string;
      live: boolean;
      partitions: number;
      started_at_ms: string;
      paused_since_ms: string | null;
      paused_by: string | null;
      paused_reason: string | null;
    }>("listing members", listStatement);
    return rows.map((row) => ({
      member: row.member,
      name: row.name,
      live: row.live,
      partitions: row.partitions,
      startedAt: Number(row.started_at_ms),
      paused:
        row.paused_since_ms === null
          ? undefined
          : { since: Number(row.paused_since_ms), by: row.paused_by ?? "", reason: row.paused_reason },
    }));
  }

  /**
   * Pauses one process, by the number that sluice.members shows: it finishes what runs, gives its partitions and leases back, and takes none
   * until {@link resume}; the other members of its groups take over. When it ends, its pause is gone. Resolves with whether it
   * was not paused before.
   *
   * Fails with UNKNOWN_MEMBER. Where all members of a group are paused, nothing of it runs.
   */
  async pause(member: number, options: { readonly reason?: string } = {}): Promise<boolean> {
    const { reason = null } = options;
    if (reason !== null && reason.length > 1_000) {
      const problems = [{ path: "reason", message: "has more than 1,000 characters" }];
      throw problemsError("INVALID_OPTIONS", `member ${member} was not paused:`, problems);
    }
    refuseNumber(member);
    const rows = await this.#pool.query<{ paused: boolean }>(`pausing member ${member}`, pauseStatement, [
      member,
      reason,
    ]);
    return rows[0]?.paused === true;
  }

  /** Ends the pause of a process: it takes its share again. Resolves with whether it was paused. Fails with UNKNOWN_MEMBER. */
  async resume(member: number): Promise<boolean> {
    refuseNumber(member);
    const rows = await this.#pool.query<{ resumed: boolean }>(`resuming member ${member}`, resumeStatement, [member]);
    return rows[0]?.resumed === true;
  }
}

function refuseNumber(member: number): void {
  if (Number.isInteger(member) && member >= 1 && member <= 2_147_483_647) return;
  const problems = [{ path: "member", message: "must be the number of a member, as sluice.members shows it" }];
  throw problemsError("INVALID_OPTIONS", "no member was changed:", problems);
}
