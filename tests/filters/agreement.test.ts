import { expect, test } from "bun:test";
import { type FilteredRecord, matchesFilter, parseFilter, topic } from "@sluice/contract";
import { type Log, openTopic, PostgresLog, type ReadRequest, type ReadResult, type TopicEntry } from "@sluice/log";
import { Pool } from "@sluice/store";
import { testDatabase } from "@sluice/testkit";
import fc from "fast-check";
import { z } from "zod";
import { brokenLog } from "../invariants/broken-log.ts";

/** What strings headers, keys and constants are made of: few, so that they meet; and what has a meaning somewhere. */
const text = fc.oneof(
  fc.constantFrom(
    "",
    "paid",
    "Paid",
    "eu-west",
    "eu",
    "it's",
    '"quoted"',
    "a\\b",
    "%",
    "_",
    "\\",
    "😀",
    "｡",
    "é",
    "$1",
  ),
  fc.constantFrom(
    "0",
    "-0",
    "1",
    "1.0",
    "10",
    "9",
    "1e1",
    "-1",
    "01",
    "+1",
    "1e999",
    "-1e-999",
    "1e1000",
    " 1",
    "0.1",
    "1\n",
    "1234567890123456789012345678901234567890",
    `0.${"0".repeat(39)}`,
  ),
  fc.constantFrom("'; drop table sluice.topic; --", "/* x */", "{a,b}", "null", "$$", "\u0001", "\n", "{topic}", "$'"),
  fc.string({ maxLength: 4 }).filter((some) => some.isWellFormed() && !some.includes("\0")),
);
const headerName = fc.constantFrom("tag", "amount", "x-y", "__proto__", "it's", '"', "key", "", "\\");
const number = fc.oneof(
  fc.constantFrom("0", "1", "-1", "10", "0.1", "1e1", "-2.5", "1e999", "1234567890123456789012345678901234567890"),
  fc.integer({ min: -20, max: 20 }).map(String),
);

const record: fc.Arbitrary<FilteredRecord> = fc.record({
  key: fc.option(text),
  headers: fc.array(fc.tuple(headerName, text), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  timestamp: fc.constantFrom(0, 1, 10, 1_700_000_000_000),
});

const quoted = (value: string) => `'${value.replaceAll("'", "''")}'`;
const literalText = text.map(quoted);
const column = fc.oneof(
  { weight: 5, arbitrary: headerName.map((name) => `"${name.replaceAll('"', '""')}"`) },
  fc.constant("key"),
);
const comparison = fc.constantFrom("=", "<>", "!=", "<", "<=", ">", ">=");
const not = fc.constantFrom("", "not ");
const pattern = fc
  .array(
    fc.oneof(
      fc.constantFrom("%", "_", "!%", "!_", "!!", "\\"),
      text.map((some) => some.replaceAll(/[%_!]/g, "")),
    ),
    { maxLength: 4 },
  )
  .map((parts) => `${quoted(parts.join(""))} escape '!'`);

const condition = fc.oneof(
  fc.tuple(column, comparison, fc.oneof(literalText, column)).map((parts) => parts.join(" ")),
  fc.tuple(column, comparison, number).map((parts) => parts.join(" ")),
  fc.tuple(number, comparison, column).map((parts) => parts.join(" ")),
  fc.tuple(fc.constant("timestamp"), comparison, fc.oneof(number, column)).map((parts) => parts.join(" ")),
  fc
    .tuple(column, not, fc.array(literalText, { minLength: 1, maxLength: 4 }))
    .map(([a, n, list]) => `${a} ${n}in (${list.join()})`),
  fc
    .tuple(fc.oneof(column, fc.constant("timestamp")), not, fc.array(number, { minLength: 1, maxLength: 4 }))
    .map(([a, n, list]) => `${a} ${n}in (${list.join()})`),
  fc.tuple(column, not, number, number).map(([a, n, low, high]) => `${a} ${n}between ${low} and ${high}`),
  fc.tuple(column, not, literalText, literalText).map(([a, n, low, high]) => `${a} ${n}between ${low} and ${high}`),
  fc.tuple(column, not, pattern).map(([a, n, like]) => `${a} ${n}like ${like}`),
  fc.tuple(column, not).map(([a, n]) => `${a} is ${n}null`),
  fc.tuple(not, fc.oneof(column, fc.constant("timestamp"))).map(([n, a]) => `${n}exists(${a})`),
);

const filterText = fc.letrec<{ expression: string }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    condition,
    fc
      .tuple(tie("expression"), fc.constantFrom("and", "or"), tie("expression"))
      .map(([a, and, b]) => `(${a}) ${and} (${b})`),
    tie("expression").map((inner) => `not (${inner})`),
  ),
})).expression;

interface Place {
  readonly log: Log;
  readonly entry: TopicEntry;
  readonly sql: Pool;
}

async function withLog(work: (place: Place) => Promise<void>): Promise<void> {
  await using database = await testDatabase();
  const pool = new Pool(database.url, { connections: 2, applicationName: "filters" });
  try {
    const declared = topic("records", { schema: z.number(), partitions: 1 });
    await work({ log: new PostgresLog(pool), entry: await openTopic(pool, declared, { create: true }), sql: pool });
  } finally {
    await pool.close();
  }
}

let sequence = 0;

/** Appends records as one batch; the value of each is its index. */
async function append({ log, entry }: Place, records: readonly FilteredRecord[]): Promise<number> {
  const [offset] = await log.append({
    topic: entry,
    producer: 1,
    sequence: sequence++ * 10_000,
    repeat: false,
    after: null,
    acks: 1,
    ring: null,
    deadlineMs: 10_000,
    entries: [
      {
        partition: 0,
        count: records.length,
        keys: JSON.stringify(records.map(({ key }) => key)),
        records: JSON.stringify(records.map((_, index) => index)),
        attributes: JSON.stringify(records.map(({ headers, timestamp }) => ({ headers, timestamp }))),
      },
    ],
  });
  return offset ?? -1;
}

/** Offsets of what the database lets through. */
async function found({ log, entry }: Place, from: number, filter: ReadRequest["filter"]): Promise<readonly number[]> {
  const offsets: number[] = [];
  for (let at = from; ; ) {
    const result = await log.read({
      topic: entry,
      partition: 0,
      from: at,
      ...(filter === undefined ? {} : { filter }),
    });
    for (const { baseOffset, matches = [] } of result.batches)
      offsets.push(...matches.map((index) => baseOffset + index));
    if (!result.more) return offsets;
    at = result.next;
  }
}

type Evaluate = (filter: string, record: FilteredRecord) => boolean;

const evaluate: Evaluate = (filter, one) => matchesFilter(parseFilter(filter), one);

/** Fails for records and filters about which the database and `judge` disagree. */
async function compare(
  place: Place,
  judge: Evaluate,
  records: readonly FilteredRecord[],
  filters: readonly string[],
): Promise<void> {
  const from = await append(place, records);
  for (const filter of filters) {
    const expected = records.flatMap((one, index) => (judge(filter, one) ? [from + index] : []));
    expect(await found(place, from, parseFilter(filter)), filter).toEqual(expected);
  }
}

test("[Q7] [R6] the database lets through what the evaluator lets through, for any filter and any records", async () => {
  await withLog(async (place) => {
    const manyRecords = fc.array(record, { minLength: 1, maxLength: 12 });
    const someFilters = fc.array(filterText, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(manyRecords, someFilters, (records, filters) => compare(place, evaluate, records, filters)),
      { numRuns: 400, endOnFailure: true },
    );
    // And nothing was touched: a filter's texts are parameters.
    expect(await place.sql.query("looking", "select name from sluice.topic")).toEqual([{ name: "records" }]);
  });
});

test("[Q7] the comparison of database and evaluator sees a defect on either side", async () => {
  const records: readonly FilteredRecord[] = [
    { key: null, headers: {}, timestamp: 1 },
    { key: "", headers: { tag: "paid", amount: "10" }, timestamp: 2 },
    { key: "k", headers: { tag: "Paid", amount: "9" }, timestamp: 3 },
    { key: "k", headers: { tag: "p%", amount: "010" }, timestamp: 4 },
  ];
  const filters = ["tag = 'paid'", "tag <> 'paid'", "amount > 9", "tag like 'p!%' escape '!'", "key = ''"];
  const defects: Readonly<Record<string, Evaluate>> = {
    "unknown counts as true": (filter, one) => !evaluate(`not (${filter})`, one),
    "texts ignore case": (filter, { headers, ...rest }) =>
      evaluate(filter, { ...rest, headers: { ...headers, tag: headers["tag"]?.toLowerCase() ?? "" } }),
    "numbers are compared as texts": (filter, one) => evaluate(filter.replace("9", "'9'"), one),
    "there is no escape character": (filter, one) => evaluate(filter.replace("!%' escape '!'", "%'"), one),
    "an absent key is an empty one": (filter, one) => evaluate(filter, { ...one, key: one.key ?? "" }),
  };
  await withLog(async (place) => {
    await compare(place, evaluate, records, filters);
    for (const [name, defect] of Object.entries(defects)) {
      await expect(compare(place, defect, records, filters), name).rejects.toThrow();
    }
    const read = async (request: ReadRequest) => forget(await place.log.read(request));
    const forgetful = { ...place, log: brokenLog(place.log, { read }) };
    await expect(compare(forgetful, evaluate, records, filters)).rejects.toThrow();
  });
});

/** Loses the last match of each batch. */
function forget(result: ReadResult): ReadResult {
  const batches = result.batches.map((batch) => ({ ...batch, matches: batch.matches?.slice(0, -1) ?? [] }));
  return { ...result, batches };
}
