import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { temporaryFolder } from "@sluice/testkit";
import { projectFiles, root } from "./project-files.ts";

setDefaultTimeout(60_000);

/** The rooms from the lowest to the highest, and what each may use. DESIGN.md has the reasons. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  contract: ["kernel"],
  store: ["kernel"],
  log: ["kernel", "contract", "store"],
  broker: ["kernel", "contract", "store", "log"],
  worker: ["kernel", "contract", "store", "log", "broker"],
  sluice: ["kernel", "contract", "store", "log", "broker", "worker"],
  testkit: ["kernel", "store"],
};

/** Runs the linter with the project's own configuration over these files, in a folder of their own; tells which it refused. */
function refusedBy(files: Readonly<Record<string, string>>): {
  readonly refused: Set<string>;
  readonly checked: number;
} {
  using temporary = temporaryFolder("dependency-rule");
  const folder = temporary.path;
  copyFileSync(join(root, "biome.json"), join(folder, "biome.json"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), `${text}\n`);
  }
  const biome = join(root, "node_modules", "@biomejs", "biome", "bin", "biome");
  const parameters = ["lint", "--vcs-enabled=false", "--only=noRestrictedImports", "--reporter=json", "."];
  const { stdout, stderr } = spawnSync("node", [biome, ...parameters, "--max-diagnostics=none"], {
    cwd: folder,
    encoding: "utf8",
  });
  const report = JSON.parse(stdout) as Report;
  expect(stderr).not.toContain("configuration resulted in errors");
  const refused = report.diagnostics.filter(({ category }) => category === "lint/style/noRestrictedImports");
  return {
    refused: new Set(refused.map(({ location }) => pathOf(location))),
    checked: report.summary.changed + report.summary.unchanged,
  };
}

interface Report {
  readonly summary: { readonly changed: number; readonly unchanged: number };
  readonly diagnostics: readonly { readonly category: string; readonly location: Location }[];
}

interface Location {
  readonly path: string | { readonly file: string };
}

function pathOf({ path }: Location): string {
  return (typeof path === "string" ? path : path.file).replace(/^\.\//, "");
}

test("every import between rooms that DESIGN.md does not name is refused, and every one that it names passes", () => {
  const files: Record<string, string> = {};
  const expected = new Set<string>();
  const plant = (path: string, text: string, isRefused: boolean) => {
    files[path] = text;
    if (isRefused) expected.add(path);
  };
  for (const [room, allowed] of Object.entries(rooms)) {
    for (const other of Object.keys(rooms)) {
      if (other === room) continue;
      const name = other === "sluice" ? "sluice" : `@sluice/${other}`;
      const isRefused = !allowed.includes(other);
      plant(
        `libs/${room}/value-of-${other}.ts`,
        `import { thing } from "${name}";\nexport const it = thing;`,
        isRefused,
      );
      plant(
        `libs/${room}/type-of-${other}.ts`,
        `import type { Thing } from "${name}";\nexport type It = Thing;`,
        isRefused,
      );
      plant(`libs/${room}/re-export-of-${other}.ts`, `export { thing } from "${name}";`, isRefused);
      plant(`libs/${room}/late-import-of-${other}.ts`, `export const it = await import("${name}");`, isRefused);
      plant(`libs/${room}/relative-to-${other}.ts`, `export { thing } from "../${other}/index.ts";`, true);
      plant(`libs/${room}/inner/relative-to-${other}.ts`, `export { thing } from "../../${other}/index.ts";`, true);
    }
    plant(`libs/${room}/own.ts`, 'export { thing } from "./other.ts";', false);
    plant(`libs/${room}/own-inner.ts`, 'export { thing } from "./inner/other.ts";', false);
    const isStore = room === "store";
    const sql = 'import text from "../../migrations/0001_log.sql" with { type: "text" };\nexport const it = text;';
    plant(`libs/${room}/migration.ts`, sql, !isStore);
    plant(`libs/${room}/to-apps.ts`, 'export { thing } from "../../apps/signup/service.ts";', true);
    plant(`libs/${room}/to-tests.ts`, 'export { thing } from "../../tests/schema.test.ts";', true);
  }
  plant("libs/worker/consumer/to-own-room.ts", 'export { thing } from "../worker.ts";', false);
  plant("libs/log/to-embedded.ts", 'export { thing } from "@sluice/store/embedded";', true);
  plant("libs/sluice/to-embedded.ts", 'export { thing } from "@sluice/store/embedded";', false);
  plant("libs/store/some.test.ts", 'import { testDatabase } from "@sluice/testkit";\nvoid testDatabase;', false);
  plant("apps/signup/to-room.ts", 'import type { Log } from "@sluice/log";\nexport type It = Log;', true);
  plant("apps/signup/to-testkit.ts", 'export { testDatabase } from "@sluice/testkit";', true);
  plant("apps/signup/deep.ts", 'export { thing } from "sluice/connect.ts";', true);
  plant("apps/signup/relative.ts", 'export { thing } from "../../libs/kernel/index.ts";', true);
  plant("apps/signup/page/relative.ts", 'export { thing } from "../../../libs/kernel/index.ts";', true);
  plant(
    "apps/signup/to-sluice.ts",
    'export { app } from "sluice";\nexport { startEmbedded } from "sluice/embedded";',
    false,
  );
  plant(
    "apps/signup/to-kit.ts",
    'export { runMain } from "@sluice/app-kit";\nexport { Inbox } from "@sluice/app-kit/outside";',
    false,
  );
  plant("apps/signup/to-testing.ts", 'export { openBrowser } from "@sluice/app-kit/testing";', true);
  plant("apps/signup/relative-to-kit.ts", 'export { runMain } from "../kit/index.ts";', true);
  plant("apps/photos/to-signup.ts", 'export { thing } from "@sluice/app-signup";', true);
  plant("apps/photos/page/relative-to-signup.ts", 'export { thing } from "../../signup/service.ts";', true);
  plant("apps/kit/to-sluice.ts", 'export { app } from "sluice";', false);
  plant("apps/kit/web/own.ts", 'export { thing } from "../start-error.ts";', false);
  plant("apps/kit/to-app.ts", 'export { thing } from "@sluice/app-signup";', true);
  plant("apps/kit/web/relative-to-app.ts", 'export { thing } from "../../signup/service.ts";', true);
  plant("apps/kit/to-room.ts", 'import type { Log } from "@sluice/log";\nexport type It = Log;', true);
  plant("libs/worker/to-kit.ts", 'export { runMain } from "@sluice/app-kit";', true);
  plant("apps/signup/some.test.ts", 'import { testDatabase } from "@sluice/testkit";\nvoid testDatabase;', false);

  const { refused, checked } = refusedBy(files);
  expect(checked).toBe(Object.keys(files).length + 1);
  expect([...refused].sort()).toEqual([...expected].sort());
  expect(expected.size).toBeGreaterThan(200);
});

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Every specifier of a file: imports, re-exports, import() as a value and as a type. */
function specifiersOf(text: string): string[] {
  const withoutComments = text.replace(/^\s*(\*|\/\/|\/\*).*$/gm, "");
  const patterns = [/\b(?:import|export)\b[^"'`;]*?\bfrom\s*["']([^"']+)["']/g, /\bimport\s*\(?\s*["']([^"']+)["']/g];
  return patterns.flatMap((pattern) => [...withoutComments.matchAll(pattern)].map((match) => match[1] as string));
}

function packageOf(specifier: string): string | undefined {
  if (/^(\.|node:|bun:|bun$)/.test(specifier)) return undefined;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** What is wrong with a package's list of dependencies, given the texts of its files by path. */
function problemsOf(manifest: Manifest, texts: Readonly<Record<string, string>>): string[] {
  const shipped = new Set<string>();
  const tested = new Set<string>();
  for (const [path, text] of Object.entries(texts)) {
    const isTest = /(\.test\.ts|-fixture\.ts|\/testing\.ts)$/.test(path);
    for (const specifier of specifiersOf(text)) {
      const name = packageOf(specifier);
      if (name !== undefined) (isTest ? tested : shipped).add(name);
    }
  }
  const declared = new Set(Object.keys(manifest.dependencies ?? {}));
  const declaredForTests = new Set(Object.keys(manifest.devDependencies ?? {}));
  // A package may be found by its name instead of imported, as the embedded server's binaries are.
  const isUsed = (name: string) =>
    Object.values(texts).some((text) => text.includes(`"${name}"`) || text.includes(`"${name}/`));
  return [
    ...[...shipped].filter((name) => !declared.has(name)).map((name) => `uses ${name}, which dependencies lack`),
    ...[...tested]
      .filter((name) => !declared.has(name) && !declaredForTests.has(name))
      .map((name) => `uses ${name} in tests, which dependencies and devDependencies lack`),
    ...[...declared].filter((name) => !isUsed(name)).map((name) => `names ${name}, which nothing uses`),
    ...[...declaredForTests].filter((name) => !tested.has(name)).map((name) => `names ${name}, which no test uses`),
  ];
}

test("a package names what it uses, and uses what it names", () => {
  const files = projectFiles();
  const manifests = files.filter((path) => /^(libs|apps)\/[^/]+\/package\.json$/.test(path));
  const problems: string[] = [];
  let [read, specifiers] = [0, 0];
  for (const path of manifests) {
    const folder = `${dirname(path)}/`;
    const sources = files.filter(
      (file) => file.startsWith(folder) && /\.(ts|mts)$/.test(file) && !file.includes("/dist/"),
    );
    const texts = Object.fromEntries(sources.map((file) => [file, readFileSync(join(root, file), "utf8")]));
    read += sources.length;
    specifiers += Object.values(texts).flatMap(specifiersOf).length;
    const manifest = JSON.parse(readFileSync(join(root, path), "utf8")) as Manifest;
    problems.push(...problemsOf(manifest, texts).map((problem) => `${path} ${problem}`));
  }
  expect(problems).toEqual([]);
  expect(manifests.length).toBeGreaterThanOrEqual(Object.keys(rooms).length + 1);
  expect(read).toBeGreaterThan(100);
  expect(specifiers).toBeGreaterThan(300);
});

test("each room's dependencies are the rooms that it may use, at most", () => {
  for (const [room, allowed] of Object.entries(rooms)) {
    const manifest = JSON.parse(readFileSync(join(root, "libs", room, "package.json"), "utf8")) as Manifest;
    const named = Object.keys(manifest.dependencies ?? {}).filter((name) => name.startsWith("@sluice/"));
    expect(allowed.map((other) => `@sluice/${other}`)).toEqual(expect.arrayContaining(named));
  }
});

test("the check of dependencies sees what is not declared, and what is not used", () => {
  const manifest = { name: "x", dependencies: { used: "1", unused: "1" }, devDependencies: { idle: "1" } };
  const texts = {
    "libs/x/a.ts": 'import used from "used/deep";\nimport { type B,\n  c } from "missing";\nimport "side-effect";',
    "libs/x/b.ts":
      'type A = import("@scope/typed/deep").A;\nconst late = await import("late");\nexport * from "passed-on";',
    "libs/x/c.test.ts": 'import { test } from "bun:test";\nimport x from "only-tested";',
  };
  expect(problemsOf(manifest, texts).sort()).toEqual([
    "names idle, which no test uses",
    "names unused, which nothing uses",
    "uses @scope/typed, which dependencies lack",
    "uses late, which dependencies lack",
    "uses missing, which dependencies lack",
    "uses only-tested in tests, which dependencies and devDependencies lack",
    "uses passed-on, which dependencies lack",
    "uses side-effect, which dependencies lack",
  ]);
});
