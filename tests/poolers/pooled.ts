import { test } from "bun:test";
import { join } from "node:path";
import { pgbouncerMissing } from "@sluice/testkit";
import type postgres from "postgres";

// Without pgbouncer there is nothing to go through; .ci/run installs it, so that there every one of them runs.
if (pgbouncerMissing !== undefined) console.warn(`the tests of poolers are skipped: ${pgbouncerMissing}`);

/** A test that needs a real pgbouncer. */
export const poolerTest = test.skipIf(pgbouncerMissing !== undefined);

/**
 * Notes whatever is taken from an owner that lives, at the moment when it happens: one whose session holds its lock, or whose lease
 * runs. Asks the tables, none of Sluice's functions, so that it sees what they get wrong.
 */
export async function watchForTheft(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create table public.theft (what text not null);
    create function public.note_theft() returns trigger language plpgsql as $$
    declare
      v_old integer := case tg_argv[0] when 'partition' then (to_json(old) ->> 'owner')::integer else (to_json(old) ->> 'member')::integer end;
      v_new integer := case tg_argv[0] when 'partition' then (to_json(new) ->> 'owner')::integer else (to_json(new) ->> 'member')::integer end;
    begin
      if v_old <> v_new and (
        exists (select from sluice.member where member = v_old and leased and lease_until > clock_timestamp())
        or exists (select from sluice.member join pg_locks l on l.classid = 1936487685 and l.objid = member::oid
            and l.database = (select oid from pg_database where datname = current_database())
          where member = v_old and tg_argv[0] = 'partition'))
      then
        insert into public.theft values (format('a %s of member %s, which lives, was taken by member %s', tg_argv[0], v_old, v_new));
      end if;
      return new;
    end $$;
    create trigger note_theft after update on sluice.position for each row execute function public.note_theft('partition');
    create trigger note_theft after update on sluice.duty for each row execute function public.note_theft('duty');
  `);
}

/** What was taken from owners that lived. */
export async function thefts(sql: postgres.Sql): Promise<string[]> {
  return (await sql<{ what: string }[]>`select what from public.theft`).map(({ what }) => what);
}

/** A process that writes one effect per message; see member-process.ts. */
export interface MemberProcess extends AsyncDisposable {
  signal(name: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
}

/** Starts member-process.ts; killed when disposed of, at the latest. */
export function startMember(environment: Readonly<Record<string, string>>): MemberProcess {
  const child = Bun.spawn([process.execPath, join(import.meta.dirname, "member-process.ts")], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "ignore", "inherit"],
  });
  return {
    signal: (name) => child.kill(name),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** How many partitions each live member owns, by its name without the process's number. */
export async function shares(sql: postgres.Sql): Promise<Readonly<Record<string, number>>> {
  const rows = await sql<{ name: string; partitions: number }[]>`
    select split_part(name, ' ', 1) as name, sum(partitions)::integer as partitions from sluice.members where live group by 1`;
  return Object.fromEntries(rows.map(({ name, partitions }) => [name, partitions]));
}

/** Whether a group has done everything. */
export async function isAtEnd(sql: postgres.Sql, group: string): Promise<boolean> {
  const rows = await sql<
    { lag: number | null }[]
  >`select sum(lag)::integer as lag from sluice.lag where "group" = ${group}`;
  return rows[0]?.lag === 0;
}
