import { arrayLiteral, type StatementParameter } from "@sluice/store";
import type { AppendEntry, AppendRequest } from "./log.ts";
import manyStatement from "./sql/append.sql" with { type: "text" };
import afterStatement from "./sql/append-after.sql" with { type: "text" };
import oneAfterStatement from "./sql/append-after-one.sql" with { type: "text" };
import oneStatement from "./sql/append-one.sql" with { type: "text" };

/** Joins the partitions' texts; JSON never holds it unescaped. Why it is so long stands in migrations/0005_append.sql. */
export const recordSeparator = "\u001e".repeat(32);

/** A statement and what goes with it. */
export interface AppendStatement {
  readonly text: string;
  readonly parameters: readonly StatementParameter[];
}

/**
 * Makes the statement of an append. What seldom changes (the producer, that there are no headers) stands in its text and
 * not among its parameters: ten of those made a lone append a twentieth slower than four. A producer has few such texts, and
 * each is prepared once per connection.
 */
export class AppendStatements {
  /** By topic, then by producer and form. */
  readonly #texts = new Map<number, Map<number, string>>();

  /**
   * @param hints for each entry where a batch near the end of its partition begins, 0 where none is known. Left out where there is
   *   something else to look for as well, and for a lone batch, which they do not help.
   */
  of(request: AppendRequest, hints: readonly number[]): AppendStatement {
    const { topic, entries, producer, sequence, repeat, after, acks, ring } = request;
    const isOne = entries.length === 1;
    const [partitions, counts, keys, records, attributes] = isOne ? oneBatch(entries) : manyBatches(entries);
    const parameters: StatementParameter[] = [partitions, records, sequence];
    let form = isOne ? 0 : 1;
    if (counts === 1) form += 2;
    else parameters.push(counts);
    if (keys === null) form += 4;
    else parameters.push(keys);
    if (attributes === null) form += 8;
    else parameters.push(attributes);
    if (ring === null) form += 16;
    else parameters.push(ring);
    if (after === null) form += 32;
    else parameters.push(after);
    if (repeat) form += 64;
    if (acks === "all") form += 128;
    if (isOne || repeat) form += 256;
    else parameters.push(arrayLiteral(hints));
    return { text: this.#text(topic.number, producer, form), parameters };
  }

  #text(topic: number, producer: number, form: number): string {
    let texts = this.#texts.get(topic);
    if (texts === undefined) {
      texts = new Map();
      this.#texts.set(topic, texts);
    }
    const name = producer * 512 + form;
    let text = texts.get(name);
    if (text === undefined) {
      text = compose(topic, producer, form);
      texts.set(name, text);
    }
    return text;
  }
}

/** Fills a statement's places with literals or with parameters, in the order in which {@link AppendStatements.of} gives them. */
function compose(topic: number, producer: number, form: number): string {
  const is = (bit: number) => (form & bit) !== 0;
  let number = 3;
  const parameter = () => {
    number += 1;
    return `$${number}`;
  };
  const places: Readonly<Record<string, string>> = {
    topic: String(topic),
    partitions: "$1",
    records: "$2",
    sequence: "$3",
    counts: is(2) ? "1" : parameter(),
    keys: is(4) ? "null" : parameter(),
    attributes: is(8) ? "null" : parameter(),
    ring: is(16) ? "null" : parameter(),
    after: is(32) ? "null" : parameter(),
    producer: String(producer),
    repeat: String(is(64)),
    commit: is(128) ? "'on'" : "'local'",
    hints: is(256) ? "" : `, ${parameter()}::text::bigint[]`,
  };
  const [one, many] = is(32) ? [oneStatement, manyStatement] : [oneAfterStatement, afterStatement];
  const statement = is(1) ? many : one;
  return statement.replace(/^--.*\n/gm, "").replace(/\{(\w+)\}/g, (place, name: string) => places[name] ?? place);
}

type Batches = readonly [
  partitions: number | string,
  counts: number | string,
  keys: string | null,
  records: string,
  attributes: string | null,
];

function oneBatch(entries: readonly AppendEntry[]): Batches {
  const { partition, count, keys, records, attributes } = entries[0] as AppendEntry;
  return [partition, count, keys, records, attributes];
}

function manyBatches(entries: readonly AppendEntry[]): Batches {
  return [
    arrayLiteral(entries.map((entry) => entry.partition)),
    arrayLiteral(entries.map((entry) => entry.count)),
    joinOptional(entries.map((entry) => entry.keys)),
    entries.map((entry) => entry.records).join(recordSeparator),
    joinOptional(entries.map((entry) => entry.attributes)),
  ];
}

/** Partitions where nothing is set stand as an empty array among those where something is. */
function joinOptional(texts: readonly (string | null)[]): string | null {
  if (texts.every((text) => text === null)) return null;
  return texts.map((text) => text ?? "[]").join(recordSeparator);
}
