import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { projectFiles, root } from "./project-files.ts";
import { isDocumented, rules, surfaceOf } from "./style-rules.ts";

const files = projectFiles().filter((path) => path !== "package-lock.json" && !/\.(png|jpg|ico|woff2)$/.test(path));
const textOf = (path: string) => readFileSync(join(root, path), "utf8");

/** For each rule: a file that it must refuse, one that it must let through, and how many it reads at least. */
const samples: Readonly<
  Record<string, { readonly bad: [string, string][]; readonly good: [string, string]; readonly reads: number }>
> = {
  "at most 400 lines": {
    bad: [["libs/log/long.ts", "//\n".repeat(401)]],
    good: ["libs/log/long.ts", "//\n".repeat(400)],
    reads: 150,
  },
  "kebab-case names": {
    bad: [
      ["libs/log/camelCase.ts", ""],
      ["libs/log/snake_case.sql", ""],
      ["libs/Log/a.ts", ""],
    ],
    good: ["libs/log/read-batches.test.ts", ""],
    reads: 180,
  },
  "numbered migrations": { bad: [["migrations/1_log.sql", ""]], good: ["migrations/0001_log.sql", ""], reads: 5 },
  "rooms by responsibility": {
    bad: [
      ["libs/utils/a.ts", ""],
      ["libs/log/helpers.ts", ""],
      ["apps/signup/common/a.ts", ""],
    ],
    good: ["libs/log/catalog.ts", ""],
    reads: 130,
  },
  "no any": {
    bad: [
      ["a.ts", "const a = b as any;"],
      ["a.ts", "function f(a: any) {}"],
      ["a.ts", "let a: Map<string, any>;"],
    ],
    good: [
      "a.ts",
      '// any: text\n// biome-ignore lint/suspicious/noExplicitAny: it is invariant\ntype A = Topic<any>;\nz.any();\n": any"',
    ],
    reads: 150,
  },
  "no test alone": {
    bad: [
      ["a.test.ts", "test.only('x', () => {})"],
      ["a.test.ts", "test('x', { only: true }, () => {})"],
    ],
    good: ["a.test.ts", "// test.only(\ntest('x', () => {})"],
    reads: 20,
  },
  "a skip has a reason": {
    bad: [
      ["a.test.ts", "test.skip('x', () => {})"],
      ["a.test.ts", "t.skip()"],
      ["a.test.ts", "test('x', { skip: true }, f)"],
    ],
    good: ["a.test.ts", "t.skip('no browser'); test.skipIf(reason !== undefined)('x: ' + reason, f)"],
    reads: 20,
  },
  "nothing left for later": {
    bad: [
      ["README.md", "TODO: more"],
      ["a.sql", "-- FIXME"],
    ],
    good: ["a.ts", "const todos = 1;"],
    reads: 200,
  },
  "SQL says what it locks": {
    bad: [
      ["libs/log/sql/a.sql", "select 1"],
      ["libs/log/sql/a.sql", "-- Reads.\nselect 1"],
      ["libs/log/sql/a.sql", "-- Reads.\nselect 1 -- Locks: too late"],
    ],
    good: ["libs/log/sql/a.sql", "-- Reads one.\n-- Locks: none.\nselect 1"],
    reads: 25,
  },
  "no path of one machine": {
    bad: [
      ["README.md", "see /home/ada/sluice"],
      ["a.ts", 'const a = "/Users/ada";'],
      ["a.sql", "-- /mnt/x"],
    ],
    good: ["README.md", "https://example.com/home/page and apps/home/a"],
    reads: 200,
  },
};

test.each(rules.map((rule) => [rule.name, rule] as const))("style: %s", (name, rule) => {
  const sample = samples[name];
  if (sample === undefined) throw new Error(`${name} has no sample that proves it`);
  for (const [path, text] of sample.bad) {
    expect(rule.applies(path), path).toBe(true);
    expect(rule.problems(path, text), text).not.toEqual([]);
  }
  expect(rule.problems(...sample.good)).toEqual([]);

  const read = files.filter((path) => rule.applies(path));
  expect(read.flatMap((path) => rule.problems(path, textOf(path)).map((problem) => `${path} ${problem}`))).toEqual([]);
  expect(read.length).toBeGreaterThanOrEqual(sample.reads);
});

test("style: every export of a room has a doc comment", () => {
  const text = "/** Says it. */\nexport const said = 1;\n\nexport const silent = 2;\n/** */\nexport type Empty = 1;\n";
  expect(["said", "silent", "Empty", "absent"].map((name) => isDocumented(text, name))).toEqual([
    true,
    false,
    false,
    false,
  ]);
  expect(surfaceOf('export { type A, b as c } from "./x.ts";\nexport type { D } from "./y.ts";')).toEqual([
    { from: "./x.ts", name: "A" },
    { from: "./x.ts", name: "b" },
    { from: "./y.ts", name: "D" },
  ]);

  const indexes = files.filter((path) => /^libs\/[^/]+\/(index|embedded)\.ts$/.test(path));
  let read = 0;
  const silent: string[] = [];
  for (const index of indexes) {
    for (const { from, name } of surfaceOf(textOf(index))) {
      read += 1;
      const path = join(dirname(index), from);
      if (!isDocumented(textOf(path), name)) silent.push(`${path} ${name}`);
    }
  }
  expect(silent).toEqual([]);
  expect(indexes.length).toBeGreaterThanOrEqual(8);
  expect(read).toBeGreaterThan(100);
});
