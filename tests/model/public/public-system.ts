import { setTimeout as wait } from "node:timers/promises";
import type { CrashPointName } from "./crash-points.ts";
import { brokenLaws } from "./laws.ts";
import { Member } from "./member.ts";
import type { PublicBench } from "./public-bench.ts";
import type { GroupModel, PublicModel } from "./public-model.ts";
import { isSettled, look } from "./public-observation.ts";
import { type GroupName, groupNames, groupOf, type Report, type RunTopics, topicsOf } from "./workload.ts";

const settleMs = 40_000;
const lookEveryMs = 15;
/** What a process says comes by another way than what it writes. */
const hearsayMs = 500;

/** The real thing of one run: members, and what their handlers reported. */
export class PublicSystem {
  readonly bench: PublicBench;
  readonly run: string;
  readonly topics: RunTopics;
  readonly reports: Report[] = [];
  /** All that there ever were; the living are {@link live}. */
  readonly #members: Member[] = [];

  constructor(bench: PublicBench) {
    this.bench = bench;
    this.run = bench.nextRun();
    this.topics = topicsOf(this.run);
  }

  get live(): readonly Member[] {
    return this.#members.filter(({ isAlive }) => isAlive);
  }

  groupOf(name: GroupName): string {
    return groupOf(this.run, name);
  }

  async start(model: PublicModel, crash?: { readonly at: CrashPointName; readonly skip: number }): Promise<void> {
    const { options, database } = this.bench;
    const { hasLate } = model;
    const member = await Member.start(
      {
        kind: options.kind,
        name: `${this.run}m${this.#members.length}`,
        url: database.url,
        run: this.run,
        hasLate,
        defect: options.defect,
      },
      (report) => this.reports.push(report),
      crash,
    );
    this.#members.push(member);
    if (!member.isAlive) return;
    for (const name of groupNames) if (name !== "late" || hasLate) model.join(name);
  }

  /**
   * Waits until there is nothing left to do for groups that are not paused, with a member for each of them, and looks whether the laws
   * hold. @throws what is broken, or what is still to be done
   */
  async settle(model: PublicModel): Promise<void> {
    const endsAt = performance.now() + settleMs;
    const working = (): readonly GroupModel[] => [...model.groups.values()].filter(({ isPaused }) => !isPaused);
    for (;;) {
      const needed = this.live.some(({ hasLate }) => hasLate || !model.hasLate);
      if (!needed) await this.start(model);
      const names = working().map(({ name }) => this.groupOf(name));
      const left = await look(this.bench.sql, this.topics, names);
      if (isSettled(left, names.length)) break;
      if (performance.now() > endsAt) throw new Error(`it does not settle: ${JSON.stringify(left)}`);
      await wait(lookEveryMs);
    }
    const broken = () => brokenLaws(this, model, working());
    let problems = await broken();
    if (problems.length > 0 && this.bench.options.kind === "process") {
      await wait(hearsayMs);
      problems = await broken();
    }
    if (problems.length > 0) throw new Error(problems.slice(0, 3).join("\n"));
  }

  /** Ends all members. What is left of those that crashed ends while the next runs go on. */
  async close(): Promise<void> {
    await Promise.all(this.live.map((member) => member.close()));
    this.bench.endLater(this.#members);
  }
}
