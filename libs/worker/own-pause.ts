import { keepMemberPaused, type MemberPause, memberPause } from "@sluice/broker";
import type { Logger } from "@sluice/kernel";
import type { Pool, Presence } from "@sluice/store";

/** Whether this process is paused as a member: then it owns and leases nothing. It stays so when it must begin again as a new member. */
export class OwnPause {
  readonly #logger: Logger;
  #pause: MemberPause | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get isOn(): boolean {
    return this.#pause !== undefined;
  }

  /** The process has become this member. */
  async begin(session: Presence, member: number): Promise<void> {
    if (this.#pause !== undefined) await keepMemberPaused(session, member, this.#pause);
  }

  /** Asks the database. Resolves with whether that is news. */
  async look(pool: Pool, member: number): Promise<boolean> {
    const pause = await memberPause(pool, member);
    // Its session is over: what it knows goes along to the member that the process becomes next.
    if (pause === "gone") return false;
    const isNews = (pause === undefined) === this.isOn;
    this.#pause = pause;
    if (isNews) {
      const what = this.isOn ? "this member is paused: it gives back what it owns" : "this member is resumed";
      this.#logger.log("info", what, { member, by: pause?.by, reason: pause?.reason });
    }
    return isNews;
  }
}
