import type postgres from "postgres";
import type { GroupModel, PublicModel } from "./public-model.ts";
import { see } from "./public-observation.ts";
import { attempts, exactGroups, type GroupName, mostFaults, type Report, type RunTopics } from "./workload.ts";

/** The run that is judged: where it is, and what its handlers reported. */
export interface JudgedRun {
  readonly bench: { readonly sql: postgres.Sql };
  readonly run: string;
  readonly topics: RunTopics;
  readonly reports: readonly Report[];
  /** What the group is called in this run. */
  groupOf(name: GroupName): string;
}

/**
 * What does not hold, in sentences; nothing, when everything does. For when everything has settled.
 *
 * @param working groups that are not paused
 */
export async function brokenLaws(
  system: JudgedRun,
  model: PublicModel,
  working: readonly GroupModel[],
): Promise<string[]> {
  const seen = await see(system.bench.sql, system.run, system.topics);
  const broken: string[] = [];
  const same = (what: string, there: readonly unknown[], should: readonly unknown[]) => {
    const [left, right] = [there, should].map((list) => JSON.stringify([...list].sort(byText)));
    if (left !== right) broken.push(`${what}: ${left} instead of ${right}`);
  };
  const numbers = model.visible.map(({ n }) => n);
  const inLog = seen.log.map(({ n }) => n);
  same("messages in the log, each once, none of which was rolled back or recalled", inLog, numbers);
  for (const [partition, rows] of Map.groupBy(seen.log, (row) => row.partition)) {
    const offsets = rows.map(({ offset }) => offset);
    if (offsets.some((offset, index) => offset !== index))
      broken.push(`offsets of partition ${partition} are not dense: ${offsets}`);
  }
  const messages = new Map(model.messages.map((message) => [message.n, message]));
  for (const [key, rows] of Map.groupBy(seen.log, (row) => row.key)) {
    const atOnce = rows.map(({ n }) => n).filter((n) => messages.get(n)?.how === "at once");
    if (!isAscending(atOnce)) broken.push(`messages of key ${key} were sent in another order than ${atOnce}`);
  }
  same("rows of users' transactions", seen.business, committedRows(model));

  for (const group of working) {
    const { name } = group;
    const reports = system.reports.filter((report) => report.group === name);
    const finished = new Set(reports.filter(({ phase }) => phase === "done").map(({ n }) => n));
    const should = model.visible.filter((message) => model.outcomeOf(message, group) === "done").map(({ n }) => n);
    same(`messages that group ${name} has handled`, [...finished], should);
    const letters = seen.letters.filter((letter) => letter.group === system.groupOf(name));
    same(
      `dead letters of group ${name}`,
      letters.map(({ n, reason, redrives }) => `${n} ${reason} ${redrives}`),
      model.visible
        .map((message) => [message.n, model.outcomeOf(message, group), group.redrives.get(message.n) ?? 0] as const)
        .filter(([, outcome]) => outcome !== "done")
        .map(([n, outcome, redrives]) => `${n} ${outcome} ${redrives}`),
    );
    for (const { n, reason, attempts: made } of letters)
      if (made > attempts || (reason === "exhausted" && made !== attempts))
        broken.push(`message ${n} is a dead letter of group ${name} after ${made} attempts`);
    broken.push(...brokenAttempts(name, reports, group));
    if (name !== "crowd") broken.push(...brokenOrder(name, system, seen.log, group));
    if (!exactGroups.includes(name)) continue;
    const effects = seen.effects.filter((effect) => effect.group === name).map(({ n }) => n);
    same(`effects of group ${name}, each once`, effects, should);
    if (name === "rows") same("messages sent by group rows, each once", seen.onward, should);
  }
  // Whatever is paused: nothing twice, nothing that is not there.
  const counted = Map.groupBy(seen.effects, ({ group, n }) => `${group} ${n}`);
  for (const [effect, rows] of counted)
    if (rows.length > 1) broken.push(`effect ${effect} is there ${rows.length} times`);
  const visible = new Set(numbers);
  for (const { n, group } of system.reports)
    if (!visible.has(n)) broken.push(`group ${group} got message ${n}, which is ${messages.get(n)?.fate}`);
  return [...new Set(broken)];
}

function committedRows({ messages }: PublicModel): number[] {
  return messages.filter(({ how, fate }) => how === "in a transaction" && fate === "sent").map(({ n }) => n);
}

/** An attempt is counted before it is made: none above what is declared, and none but the first twice. */
function brokenAttempts(name: GroupName, reports: readonly Report[], { redrives }: GroupModel): string[] {
  const begun = reports.filter(({ phase }) => phase === "begin");
  const tooMany = begun
    .filter(({ attempt }) => attempt > attempts)
    .map(({ n, attempt }) => `group ${name} got message ${n} for attempt ${attempt}`);
  const twice = [
    ...Map.groupBy(
      // Redriven, they are counted anew.
      begun.filter(({ attempt, n }) => attempt > 1 && !redrives.has(n)),
      ({ n, attempt }) => `group ${name} got message ${n} more than once for attempt ${attempt}`,
    ),
  ].filter(([, of]) => of.length > 1);
  return [...tooMany, ...twice.map(([sentence]) => sentence)];
}

/** A message begins only after those of its key before it were handled or given up; what was redriven comes when it comes. */
function brokenOrder(
  name: GroupName,
  { reports }: JudgedRun,
  log: readonly { readonly n: number; readonly key: string | null }[],
  { redrives }: GroupModel,
): string[] {
  const broken: string[] = [];
  const of = reports.filter(({ group, n }) => group === name && !redrives.has(n)).sort((a, b) => a.at - b.at);
  for (const [key, rows] of Map.groupBy(log, (row) => row.key)) {
    const place = new Map(rows.filter(({ n }) => !redrives.has(n)).map(({ n }, index) => [n, index]));
    const order = [...place.keys()];
    // (A crash may cost the last attempts.)
    const over = new Set<number>();
    let first = 0;
    for (const { phase, n, attempt } of of) {
      const index = place.get(n);
      if (index === undefined) continue;
      if (phase === "begin" && index > first)
        broken.push(`group ${name} began message ${n} of key ${key} before ${order[first]} was over`);
      if (phase === "done" || phase === "rejected" || (phase === "failed" && attempt >= attempts - mostFaults))
        over.add(n);
      while (over.has(order[first] ?? -1)) first += 1;
    }
  }
  return broken;
}

function isAscending(list: readonly number[]): boolean {
  return list.every((item, index) => index === 0 || item > (list[index - 1] ?? item));
}

function byText(a: unknown, b: unknown): number {
  return String(a) < String(b) ? -1 : 1;
}
