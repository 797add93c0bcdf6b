import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectFiles, root } from "./project-files.ts";

/** What somebody reads who wants to know how the app works: its code, without its page and its tests. */
const isRead = (path: string) => /\.ts$/.test(path) && !/\/page\/|\.test\.ts$|\/testing\.ts$/.test(path);

/** Lines of each sample app, by its folder, of these files. */
function sizes(files: readonly { readonly path: string; readonly text: string }[]): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  for (const { path, text } of files) {
    const app = /^apps\/(?!kit\/|front\/)([^/]+)\//.exec(path)?.[1];
    if (app === undefined || !isRead(path)) continue;
    lines.set(app, (lines.get(app) ?? 0) + text.trimEnd().split("\n").length);
  }
  return lines;
}

test("each sample app can be read in one sitting: fewer than 600 lines without its page and its tests", () => {
  const paths = projectFiles().filter((path) => path.startsWith("apps/") && path.endsWith(".ts"));
  const found = sizes(paths.map((path) => ({ path, text: readFileSync(join(root, path), "utf8") })));
  expect([...found].filter(([, lines]) => lines >= 600)).toEqual([]);
  expect(found.get("signup")).toBeGreaterThan(100);
});

test("the count leaves out pages, tests and what the apps share", () => {
  const text = "one\ntwo\n";
  const paths = [
    "apps/a/x.ts",
    "apps/a/b/y.ts",
    "apps/a/page/z.ts",
    "apps/a/x.test.ts",
    "apps/a/testing.ts",
    "apps/kit/x.ts",
  ];
  expect([...sizes(paths.map((path) => ({ path, text })))]).toEqual([["a", 4]]);
});
