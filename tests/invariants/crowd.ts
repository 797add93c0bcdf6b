import type { LogEntry } from "@sluice/testkit";
import type postgres from "postgres";
import { appendOne } from "./log-checks.ts";

/** What a crowd left behind: what was acknowledged, and which errors the others got (by SQLSTATE). */
export interface CrowdReport {
  readonly acknowledged: LogEntry[];
  readonly refused: string[];
}

/**
 * Many connections that append to the same partitions at once, none of which knows of the others: what only the lock in
 * the append function keeps in order. An append that is refused is not tried again.
 */
export async function crowd(
  sql: postgres.Sql,
  topic: number,
  options: { readonly partitions: number; readonly lanes: number; readonly each: number },
): Promise<CrowdReport> {
  const acknowledged: LogEntry[] = [];
  const refused: string[] = [];
  const lane = async (number: number) => {
    for (let index = 0; index < options.each; index += 1) {
      const partition = (number + index) % options.partitions;
      const value = `${number}-${index}`;
      try {
        acknowledged.push({ partition, offset: await appendOne(sql, topic, partition, value), value });
      } catch (error) {
        refused.push(String((error as { code?: unknown }).code));
      }
    }
  };
  await Promise.all(Array.from({ length: options.lanes }, (_, number) => lane(number)));
  return { acknowledged, refused };
}

/** The call that takes a partition's lock, with which the append function puts its callers in a row. */
export const appendLock =
  /(if|perform) pg_advisory_xact_lock\(1936487682,[^;]*?(is null then end if)?;|and pg_advisory_xact_lock\(1936487682,[^;]*? is not null/;
