import { expect, test } from "bun:test";
import { allTitles, lineOf, type Row, readLedger, rowsOf, type Title, titlesIn } from "./ledger.ts";

/** How many rows each family has; a row that was promised never goes. */
const families: Readonly<Record<string, number>> = { U: 7, M: 6, K: 15, R: 11, Q: 11, A: 8, N: 6 };

/** The rows that must not be open any more. */
const shown = [
  "U1",
  "U2",
  "U3",
  "U4",
  "U5",
  "U6",
  "M1",
  "M2",
  "M3",
  "M4",
  "M5",
  "K1",
  "K2",
  "K3",
  "K4",
  "K5",
  "K6",
  "K7",
  "K8",
  "K11",
  "K14",
  "K15",
  "R1",
  "R2",
  "R3",
  "R4",
  "R5",
  "R6",
  "R8",
  "R9",
  "R10",
  "R11",
  "Q1",
  "Q2",
  "Q3",
  "Q4",
  "Q5",
  "Q6",
  "Q7",
  "Q8",
  "Q10",
  "Q11",
  "N1",
  "N3",
  "N4",
  "N5",
];

function problemsOf(rows: readonly Row[], titles: ReadonlyMap<string, readonly Title[]>): string[] {
  const expected = Object.entries(families).flatMap(([family, count]) =>
    Array.from({ length: count }, (_, index) => `${family}${index + 1}`),
  );
  const numbers = rows.map((row) => row.number);
  const said = ({ text, file }: Title) => `${text} (${file})`;
  return [
    ...expected.filter((number) => !numbers.includes(number)).map((number) => `${number} is missing`),
    ...numbers.filter((number) => !expected.includes(number)).map((number) => `${number} was never promised`),
    ...numbers
      .filter((number, index) => numbers.indexOf(number) !== index)
      .map((number) => `${number} stands there twice`),
    ...rows.flatMap(({ number, promise, claims }) => {
      const there = (titles.get(number) ?? []).map(said);
      const claimed = claims.map(said);
      return [
        ...(promise.length < 8 ? [`${number} has no promise`] : []),
        ...claimed
          .filter((claim) => !there.includes(claim))
          .map((claim) => `${number} claims what is not there: ${claim}`),
        ...there.filter((title) => !claimed.includes(title)).map((title) => `${number} does not name: ${title}`),
        ...(shown.includes(number) && there.length === 0 ? [`${number} is shown by no test`] : []),
      ];
    }),
    ...[...titles.keys()]
      .filter((number) => !expected.includes(number))
      .map((number) => `no row ${number} for its tests`),
  ];
}

test("the ledger has every row, and names the tests that there are (bun tests/ledger.ts rewrites the names)", () => {
  const rows = rowsOf(readLedger());
  const titles = allTitles();
  expect(problemsOf(rows, titles)).toEqual([]);
  expect(rows.length).toBe(64);
  expect([...titles.values()].flat().length).toBeGreaterThanOrEqual(50);
});

test("the check of the ledger sees a row that is missing, twice, new, or claims what is not there", () => {
  const rows = rowsOf(readLedger());
  const titles = allTitles();
  const change = (number: string, with_: (row: Row) => Row[]) =>
    problemsOf(
      rows.flatMap((row) => (row.number === number ? with_(row) : [row])),
      titles,
    );
  expect(change("A7", () => [])).toEqual(["A7 is missing"]);
  expect(change("A7", (row) => [row, row])).toEqual(["A7 stands there twice"]);
  expect(change("A7", (row) => [row, { ...row, number: "A9" }])).toEqual(["A9 was never promised"]);
  expect(change("A7", (row) => [{ ...row, claims: [{ text: "it works", file: "a.test.ts" }] }])).toEqual([
    "A7 claims what is not there: it works (a.test.ts)",
  ]);
  expect(change("R2", (row) => [{ ...row, claims: [] }])[0]).toStartWith("R2 does not name: ");
  const without = new Map(titles);
  without.delete("R2");
  expect(problemsOf(rows, without)).toContain("R2 is shown by no test");
  expect(problemsOf(rows, new Map([...titles, ["N9", []]]))).toContain("no row N9 for its tests");
});

test("titles are read from tests, and rows from lines", () => {
  // Put together here, so that this file claims nothing.
  const text = `test(${JSON.stringify(["[K2]", "[R1] sends"].join(" "))}, () => {});\ntest("no row", () => {});`;
  expect([...titlesIn("a.test.ts", text)]).toEqual([
    ["K2", [{ text: "sends", file: "a.test.ts" }]],
    ["R1", [{ text: "sends", file: "a.test.ts" }]],
  ]);
  const row = { number: "K1", promise: "Records", claims: [{ text: "a (b)", file: "c.test.ts" }] };
  expect(rowsOf(`| row | promise | shown by |\n|---|---|---|\n${lineOf(row)}`)).toEqual([row]);
  expect(() => rowsOf("| row |\n|---|\n| K1 |")).toThrow("no row");
});
