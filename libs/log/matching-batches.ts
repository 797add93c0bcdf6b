import type { Filter } from "@sluice/contract";
import type { StatementParameter } from "@sluice/store";
import { conditionOf } from "./filter-condition.ts";
import type { ReadBatch } from "./log.ts";
import statement from "./sql/read-matching.sql" with { type: "text" };

/** Batches that one read looks at. */
export const matchingMaxBatches = 2_000;
/** Records that one read looks at, after its first batch: what bounds its time on the server. */
export const matchingMaxRecords = 20_000;

/** What the statement tells of a batch beside the batch itself. */
export interface MatchingRow {
  /** Which records match, separated by commas; `null`: none, the batch only says how far this came. */
  readonly indexes: string | null;
  /** Whether only the records that match were given. */
  readonly is_sparse: boolean;
  readonly more: boolean;
}

/** The statement that reads what a filter lets through. */
export interface MatchingStatement {
  /** With `{topic}` and `{segment}` to be filled. */
  readonly text: string;
  /** Its parameters from the sixth on. */
  readonly parameters: readonly StatementParameter[];
}

const statements = new WeakMap<Filter, MatchingStatement>();

/** The statement for a filter; made once. */
export function matchingStatement(filter: Filter): MatchingStatement {
  let made = statements.get(filter);
  if (made === undefined) {
    const { text, parameters, usesKeys } = conditionOf(filter, 6);
    const places: Readonly<Record<string, string>> = {
      condition: text,
      keys: usesKeys ? "json_array_elements_text(s.keys::json)," : "",
      key: usesKeys ? "key," : "",
    };
    const fill = (whole: string, place: string) => places[place] ?? whole;
    made = { text: statement.replaceAll(/^--.*\n/gm, "").replaceAll(/\{(\w+)\}/g, fill), parameters };
    statements.set(filter, made);
  }
  return made;
}

/** A row's batch as a reader gets it; `undefined` when nothing in it matches. */
export function toMatchingBatch({ indexes, is_sparse }: MatchingRow, batch: () => ReadBatch): ReadBatch | undefined {
  if (indexes === null) return undefined;
  const whole = batch();
  const matches = indexes.split(",").map(Number);
  if (!is_sparse) return { ...whole, matches };
  const spread = <Item>(items: readonly Item[]): readonly Item[] => {
    const placed: Item[] = [];
    for (const [number, index] of matches.entries()) placed[index] = items[number] as Item;
    return placed;
  };
  return {
    ...whole,
    matches,
    keys: whole.keys === null ? null : spread(whole.keys),
    values: spread(whole.values),
    attributes: whole.attributes === null ? null : spread(whole.attributes),
  };
}
