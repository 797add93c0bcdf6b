// bun tests/ledger.ts: writes the titles of the tests that there are into the table of tests/ledger.md.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectFiles, root } from "./tidy/project-files.ts";

/** A promise, and the titles of the tests that show it. */
export interface Row {
  readonly number: string;
  readonly promise: string;
  /** Empty when it is open. */
  readonly claims: readonly Title[];
}

/** A test by what it says and where it is. */
export interface Title {
  readonly text: string;
  readonly file: string;
}

const ledgerFile = join(root, "tests", "ledger.md");

/** The rows of the table, in order. Fails when a line of the table is none. */
export function rowsOf(markdown: string): Row[] {
  const lines = markdown.split("\n").filter((line) => line.startsWith("|"));
  return lines.slice(2).map((line) => {
    const [number, promise, shown, ...rest] = line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim());
    if (number === undefined || promise === undefined || !shown || rest.length > 0) throw new Error(`no row: ${line}`);
    const claims = shown === "open" ? [] : shown.split("<br>").map(titleOf);
    return { number, promise, claims };
  });
}

function titleOf(claim: string): Title {
  const [, text, file] = /^(.+) \((\S+)\)$/.exec(claim) ?? [];
  if (text === undefined || file === undefined) throw new Error(`no title with its file: ${claim}`);
  return { text, file };
}

/** The titles in a test file's text that begin with the numbers of rows in brackets, by row. */
export function titlesIn(file: string, text: string): Map<string, Title[]> {
  const titles = new Map<string, Title[]>();
  for (const [, , numbers, words] of text.matchAll(/(["`])((?:\[[IUMKRQAN]\d+\] ?)+)([^\n]*?)\1/g)) {
    for (const [, number] of (numbers as string).matchAll(/\[([UMKRQAN]\d+)\]/g)) {
      const title = { text: (words as string).replaceAll("|", "/"), file };
      titles.set(number as string, [...(titles.get(number as string) ?? []), title]);
    }
  }
  return titles;
}

/** The titles of all tests, by row. */
export function allTitles(): Map<string, Title[]> {
  const all = new Map<string, Title[]>();
  const files = projectFiles().filter((path) => path.endsWith(".test.ts") && !/^tests\/(tidy\/|ledger)/.test(path));
  for (const file of files) {
    for (const [number, titles] of titlesIn(file, readFileSync(join(root, file), "utf8"))) {
      all.set(number, [...(all.get(number) ?? []), ...titles]);
    }
  }
  return all;
}

/** A row as a line of the table. */
export function lineOf({ number, promise, claims }: Row): string {
  const shown = claims.map(({ text, file }) => `${text} (${file})`).join("<br>");
  return `| ${number} | ${promise} | ${shown === "" ? "open" : shown} |`;
}

/** The text of the ledger as it stands in the project. */
export function readLedger(): string {
  return readFileSync(ledgerFile, "utf8");
}

if (import.meta.main) {
  const markdown = readLedger();
  const titles = allTitles();
  const introduction = markdown.slice(0, markdown.indexOf("\n", markdown.indexOf("|---")));
  const lines = rowsOf(markdown).map((row) => lineOf({ ...row, claims: titles.get(row.number) ?? [] }));
  writeFileSync(ledgerFile, `${[introduction, ...lines].join("\n")}\n`);
}
