import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { projectFiles, root } from "./project-files.ts";

/** The files that a file imports or passes on by a relative path, types included. */
function importsOf(path: string, text: string): string[] {
  const code = text.replace(/^\s*(\*|\/\/|\/\*).*$/gm, "");
  const specifiers =
    /\b(?:import|export)\b[^"'`;]*?\bfrom\s*["'](\.[^"']+\.ts)["']|\bimport\s*\(?\s*["'](\.[^"']+\.ts)["']/g;
  return [...code.matchAll(specifiers)].map((match) =>
    normalize(join(dirname(path), (match[1] ?? match[2]) as string)),
  );
}

/** Circles of imports, one for each file where the search comes back to what it is in the middle of. */
function circlesOf(texts: Readonly<Record<string, string>>): string[] {
  const circles: string[] = [];
  const state = new Map<string, "open" | "done">();
  const visit = (path: string, way: readonly string[]) => {
    if (state.get(path) === "done" || texts[path] === undefined) return;
    if (state.get(path) === "open") {
      circles.push([...way.slice(way.indexOf(path)), path].join(" → "));
      return;
    }
    state.set(path, "open");
    for (const other of importsOf(path, texts[path])) visit(other, [...way, path]);
    state.set(path, "done");
  };
  for (const path of Object.keys(texts)) visit(path, []);
  return circles;
}

test("no file imports itself by way of others, not even a type", () => {
  const paths = projectFiles().filter((path) => path.endsWith(".ts"));
  const texts = Object.fromEntries(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
  expect(circlesOf(texts)).toEqual([]);
  expect(paths.flatMap((path) => importsOf(path, texts[path] as string)).length).toBeGreaterThan(1_000);
});

test("a circle is found however it is closed, and a file that is imported twice is none", () => {
  const found = (closing: string) =>
    circlesOf({
      "a/one.ts": 'import { two } from "./inner/two.ts";\nimport { three } from "./three.ts";',
      "a/inner/two.ts": 'export * from "../three.ts";',
      "a/three.ts": closing,
    });
  for (const closing of [
    'import { one } from "./one.ts";',
    'import type { One } from "./one.ts";',
    'export { one } from "./one.ts";',
    'const one = await import("./one.ts");',
  ])
    expect(found(closing)).toEqual(["a/one.ts → a/inner/two.ts → a/three.ts → a/one.ts"]);
  expect(found('// import { one } from "./one.ts";\nimport { one } from "a/one.ts";')).toEqual([]);
  expect(circlesOf({ "a.ts": 'import "./a.ts";' })).toEqual(["a.ts → a.ts"]);
});
