import { openTopic } from "@sluice/log";
import postgres from "postgres";
import { type GuardOptions, type SendResult, type Topic, topic } from "sluice";
import { z } from "zod";
import { plant, type Rig } from "../invariants/rig.ts";

/** Declares a guarded topic of text values and makes it; gives its number, too. */
export async function guardedTopic(
  rig: Rig,
  name: string,
  partitions: number,
  guards: GuardOptions<string>,
): Promise<{ readonly topic: Topic<string>; readonly number: number }> {
  const declared = topic(name, { schema: z.string(), partitions, ...guards });
  const { number } = await openTopic(rig.pool({ connections: 1 }), declared, { create: true });
  return { topic: declared, number };
}

/** What is wrong with the answers to sends of which each value has one message id, the value itself. */
export function notOnce(
  answers: readonly { readonly value: string; readonly result: SendResult }[],
  log: readonly { readonly partition: number; readonly offset: number; readonly value: string }[],
): string[] {
  const problems: string[] = [];
  for (const value of new Set(answers.map((answer) => answer.value))) {
    const stored = log.filter((entry) => entry.value === value);
    if (stored.length !== 1) problems.push(`${value} is in the log ${stored.length} times`);
    const results = answers.filter((answer) => answer.value === value).map(({ result }) => result);
    const appended = results.filter(({ status }) => status === "appended");
    if (appended.length !== 1) problems.push(`${value} was appended for ${appended.length} senders`);
    const places = new Set(results.map(({ partition, offset, id }) => `${partition}/${offset} ${id}`));
    if (places.size !== 1) problems.push(`${value} is at ${[...places].join(" and ")}`);
  }
  return problems;
}

/** The lock that makes a guard exact; without it, whoever looks does not see what is being appended. */
export async function plantNoLock(rig: Rig): Promise<void> {
  await plant(rig.sql, "sluice.append_guarded", [
    "if pg_advisory_xact_lock(1936487693, p_topic) is null then end if;",
    "",
  ]);
}

/**
 * Two calls of sluice.append_guarded that meet: the second comes while the first has appended and not yet committed. Gives
 * what each was told.
 */
export async function meet(rig: Rig, number: number, messages: readonly [object, object]): Promise<string[]> {
  const [first, second] = [0, 1].map(() => postgres(rig.url, { max: 1, onnotice: () => undefined })) as [
    postgres.Sql,
    postgres.Sql,
  ];
  const call = async (on: postgres.Sql, message: object) => {
    const rows = await on.unsafe<{ answer: string }[]>(
      "select sluice.append_guarded($1, $2::text::json, null, 0, 'on', null) as answer",
      [number, JSON.stringify([message])],
    );
    return rows[0]?.answer ?? "";
  };
  try {
    await first.unsafe("begin");
    const told = await call(first, messages[0]);
    const [backend] = await second.unsafe<{ pid: number }[]>("select pg_backend_pid() as pid");
    let answered = false;
    const other = call(second, messages[1]).finally(() => {
      answered = true;
    });
    for (let waits = false; !waits && !answered; ) {
      const rows = await rig.sql`select from pg_locks where pid = ${backend?.pid ?? 0} and not granted`;
      waits = rows.length > 0;
    }
    await first.unsafe("commit");
    return [told, await other];
  } finally {
    await first.end({ timeout: 0 });
    await second.end({ timeout: 0 });
  }
}
