import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { projectFiles, root } from "./project-files.ts";

/** The migrations that DESIGN.md lists, in its order. */
function listedIn(design: string): string[] {
  return [...design.matchAll(/^ {2}(\d{4}_[a-z0-9_]+) +\S/gm)].map((match) => match[1] as string);
}

test("DESIGN.md lists every migration by its name, in order, with what it is for", () => {
  const names = projectFiles()
    .filter((path) => /^migrations\/\d{4}_.*\.sql$/.test(path))
    .map((path) => basename(path, ".sql"));
  expect(listedIn(readFileSync(join(root, "DESIGN.md"), "utf8"))).toEqual(names);
  expect(names.length).toBeGreaterThan(20);
  expect(listedIn("  0001_log   topics\n  0002_groups\n0003_outbox  sending\n")).toEqual(["0001_log"]);
});
