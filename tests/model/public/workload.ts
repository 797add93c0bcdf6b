import { setTimeout as wait } from "node:timers/promises";
import { steadyNow } from "@sluice/testkit/checker";
import { sql } from "drizzle-orm";
import {
  type AnyConsumer,
  type ConsumerOptions,
  consumer,
  fixed,
  type HandlerContext,
  type Topic,
  topic,
} from "sluice";
import { z } from "zod";

/** What a message has done to itself by every group; one that was corrected succeeds. */
export const deeds = ["succeed", "linger", "failOnce", "failAlways", "reject"] as const;
export type Deed = (typeof deeds)[number];

const task = z.object({ n: z.number(), key: z.string(), deed: z.enum(deeds) });
export type Task = z.infer<typeof task>;

/** Groups by their names in the model: in order; by key; shared; and one that comes later, from the beginning. */
export const groupNames = ["plain", "rows", "crowd", "late"] as const;
export type GroupName = (typeof groupNames)[number];
/** Those whose handlers write a row in `c.tx()`. */
export const exactGroups: readonly GroupName[] = ["rows", "crowd", "late"];
/** Faults of one run, at most: each may cost a message an attempt. */
export const mostFaults = 4;
/** More than a message can lose to them, with those that it fails. */
export const attempts = 8;
const partitions = 2;
const lingerMs = 60;
export const effectTable = "public.effect";

/** Versions of the handlers that the laws must tell from a right one. */
export type HandlerDefect = "commits-first" | "writes-outside";

/** A handler's word on what it does; a crash may come right after it. */
export interface Report {
  readonly phase: "begin" | "done" | "failed" | "rejected";
  readonly group: GroupName;
  readonly n: number;
  readonly key: string;
  readonly partition: number;
  readonly offset: number;
  readonly attempt: number;
  /** By a clock that all processes have. */
  readonly at: number;
}

/** The topics of one run: what is sent, and what the group `rows` sends on. */
export interface RunTopics {
  readonly tasks: Topic<Task>;
  readonly onward: Topic<{ n: number }>;
}

export function topicsOf(run: string): RunTopics {
  return {
    tasks: topic(`tasks_${run}`, { schema: task, key: ({ key }) => key, partitions }),
    onward: topic(`onward_${run}`, { schema: z.object({ n: z.number() }), partitions: 1 }),
  };
}

export const groupOf = (run: string, name: GroupName) => `${run} ${name}`;

/** What the handlers of a member have besides their messages. */
export interface Surroundings {
  readonly run: string;
  readonly topics: RunTopics;
  readonly hasLate: boolean;
  readonly defect: HandlerDefect | undefined;
  report(report: Report): void;
  /** For what is written outside of its transaction, on purpose. */
  writeOutside(statement: string): Promise<void>;
}

/** The consumers of a member. */
export function consumersOf(surroundings: Surroundings): AnyConsumer[] {
  const { run, topics, hasLate, defect } = surroundings;
  const patient = { retry: { attempts, backoff: fixed("5ms") } } as const;
  const declare = (group: GroupName, options: Partial<ConsumerOptions<Task>>): AnyConsumer =>
    consumer(topics.tasks, {
      ...patient,
      ...options,
      group: groupOf(run, group),
      handler: (context) => handle(surroundings, group, context),
    });
  const inOrder = { mode: "ordered", commitInterval: "10ms" } as const;
  return [
    declare("plain", defect === "commits-first" ? { mode: "ordered", commit: "explicit" } : inOrder),
    declare("rows", { mode: "keyed", commitInterval: "10ms" }),
    declare("crowd", { mode: "shared" }),
    ...(hasLate ? [declare("late", { ...inOrder, start: "earliest" })] : []),
  ];
}

async function handle(surroundings: Surroundings, group: GroupName, c: HandlerContext<Task>): Promise<void> {
  const { defect } = surroundings;
  const { n, key, deed } = c.value;
  const { partition, offset, attempt } = c;
  const say = (phase: Report["phase"]) =>
    surroundings.report({ phase, group, n, key, partition, offset, attempt, at: steadyNow() });
  if (defect === "commits-first" && group === "plain") await c.commit();
  say("begin");
  if (exactGroups.includes(group)) {
    // Before anything fails: what fails is to undo it.
    const tx = await c.tx();
    const row = `insert into ${effectTable} (run, "group", n) values ('${surroundings.run}', '${group}', ${n})`;
    if (defect === "writes-outside" && group === "rows") await surroundings.writeOutside(row);
    else await tx.execute(sql.raw(row));
    if (group === "rows") c.send(surroundings.topics.onward, { n });
  }
  // Long enough for others to take its partition over meanwhile.
  if (deed === "linger" && attempt === 1) await wait(lingerMs);
  if (deed === "reject") {
    say("rejected");
    c.reject("it is to be rejected");
  } else if (deed === "failAlways" || (deed === "failOnce" && attempt === 1)) {
    say("failed");
    throw new Error("it is to fail");
  } else {
    say("done");
  }
}
