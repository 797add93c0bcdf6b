import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@sluice/testkit";
import { root } from "./project-files.ts";

setDefaultTimeout(60_000);

/** The files that nothing leads to and the values that nobody imports, by knip.json, in a project's folder. */
function unusedIn(folder: string): string[] {
  const knip = join(root, "node_modules", "knip", "bin", "knip.js");
  const { stdout, stderr } = spawnSync("node", [knip, "--reporter", "json", "--no-progress"], {
    cwd: folder,
    encoding: "utf8",
  });
  if (!stdout.startsWith("{")) throw new Error(`knip did not say what it found: ${stdout}${stderr}`);
  const { issues } = JSON.parse(stdout) as { readonly issues: readonly Issue[] };
  return issues
    .flatMap(({ file, files, exports }) => [
      ...(files ?? []).map(() => file),
      ...(exports ?? []).map(({ name }) => `${file} ${name}`),
    ])
    .sort();
}

interface Issue {
  readonly file: string;
  readonly files?: readonly unknown[];
  readonly exports?: readonly { readonly name: string }[];
}

test("no file is there that nothing leads to, and no value is exported that nobody imports", () => {
  expect(unusedIn(root)).toEqual([]);
});

test("the check sees a file that nothing leads to, and an export that nobody imports, also of a room's index", () => {
  using folder = temporaryFolder("unused");
  const files = {
    "package.json": '{"name":"all","private":true,"type":"module","workspaces":["libs/*"]}',
    "knip.json": readFileSync(join(root, "knip.json"), "utf8"),
    "libs/log/package.json": '{"name":"log","version":"1.0.0","type":"module","exports":"./index.ts"}',
    "libs/log/index.ts": 'export { nobody, somebody } from "./read.ts";\n',
    "libs/log/read.ts": "export const somebody = 1;\nexport const nobody = 2;\nexport const alone = 3;\n",
    "libs/log/read.test.ts": 'import { somebody } from "./index.ts";\nconsole.log(somebody);\n',
    "libs/log/forgotten.ts": "export const forgotten = 1;\n",
  };
  mkdirSync(join(folder.path, "libs", "log"), { recursive: true });
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder.path, path), text);
  expect(unusedIn(folder.path)).toEqual([
    "libs/log/forgotten.ts",
    "libs/log/index.ts nobody",
    "libs/log/read.ts alone",
    "libs/log/read.ts nobody",
  ]);
});
