import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Statements that stand in the code and not in a file: what begins with this text has this name. A `%` stands for anything. */
const inCode: Readonly<Record<string, string>> = {
  "transaction/begin": "begin",
  "transaction/commit": "commit",
  "transaction/rollback": "rollback",
  "session/open": "select pg_backend_pid() as pid, set_config(",
  "session/listen": "listen ",
  "session/lock": "select pg_try_advisory_lock($1, $2)",
  "session/unlock": "select pg_advisory_unlock($1, $2)",
  "route/process": "select pg_backend_pid() as process",
  "route/identity": "select concat_ws(' ', pg_postmaster_start_time()",
  "alone/lock-timeout": "set lock_timeout =",
  "retention/detach": "alter table %detach partition",
  "retention/drop": "drop table ",
  "migrate/has-ledger": "select to_regclass('sluice.migrations')",
  "handler/mark-done": "select set_config(%sluice.mark_done(",
  "handler/mark-all-done": "select set_config(%sluice.mark_all_done(",
  "handler/mark-leased-done": "select set_config(%sluice.mark_leased_done(",
  "handler/mark-retry-done": "select set_config(%sluice.mark_retry_done(",
  "handler/mark-redriven": "select set_config(%sluice.mark_redriven(",
  "handler/mark-redriven-done": "select set_config(%sluice.mark_redriven_done(",
  "handler/mark-broadcast": "select set_config(%'done' as outcome",
  "handler/claim-key": "select sluice.claim_key(",
  "stage/append": "select set_config(%sluice.append_within(",
  "stage/append-guarded": "select set_config(%sluice.append_guarded_within(",
  "call/outbox-insert": "select sluice.outbox_insert(",
  "call/delayed-insert": "select sluice.delayed_insert($1::text::integer",
  "call/recall": "select sluice.recall($1::text::text)",
  "call/answer": "select sluice.answer($1::text::json, $2::text::boolean)",
  "user/effect": "insert into public.effect",
};

/** One statement is one whatever its comments, its parameters and its spaces are. */
function shapeOf(statement: string): string {
  return statement
    .replaceAll(/--[^\n]*/g, "")
    .replaceAll(/\s+/g, " ")
    .trim();
}

function literally(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function filesOfLibraries(): (readonly [name: string, pattern: RegExp])[] {
  const libs = join(import.meta.dirname, "..", "..", "..", "libs");
  return readdirSync(libs, { recursive: true, encoding: "utf8" })
    .filter((path) => /^[a-z]+\/sql\/.*\.sql$/.test(path))
    .map((path) => {
      const text = shapeOf(readFileSync(join(libs, path), "utf8"));
      const pattern = literally(text).replaceAll(/ ?\\\{\w+\\\} ?/g, ".*?");
      return [path.replace("/sql/", "/").replace(".sql", ""), new RegExp(`^${pattern}$`, "s")];
    });
}

const catalogue: readonly (readonly [name: string, pattern: RegExp])[] = [
  ...filesOfLibraries(),
  ...Object.entries(inCode).map(
    ([name, text]) => [name, new RegExp(`^${literally(text).replaceAll("%", ".*?")}`, "is")] as const,
  ),
];

/** Every statement that the libraries send, by name: the files of libs/*\/sql, and what stands in the code. */
export const statementNames: readonly string[] = catalogue.map(([name]) => name).sort();

const known = new Map<string, string>();

/** Which statement this is; `undefined` for one that nobody has named. The empty statement, with which the driver ends a pipeline, is `""`. */
export function nameOf(statement: string): string | undefined {
  const before = known.get(statement);
  if (before !== undefined) return before;
  const shape = shapeOf(statement);
  const name = shape === "" ? "" : catalogue.find(([, pattern]) => pattern.test(shape))?.[0];
  if (name !== undefined) known.set(statement, name);
  return name;
}
