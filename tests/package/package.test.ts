import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { temporaryFolder, testDatabase } from "@sluice/testkit";
import { firstConsumer } from "../docs/blocks.ts";

setDefaultTimeout(120_000);

const root = join(import.meta.dirname, "..", "..");
const modules = join(root, "node_modules");
const temporary = temporaryFolder("package");
const home = temporary.path;
const build = join(home, "build");
const stranger = join(home, "stranger");
const consumerText = firstConsumer(readFileSync(join(root, "README.md"), "utf8"));
afterAll(() => temporary[Symbol.dispose]());

function runIn(folder: string, file: string, ...parameters: string[]): string {
  const { status, stdout, stderr } = spawnSync(file, parameters, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`${file} ${parameters.join(" ")} ended with ${status}:\n${stdout}\n${stderr}`);
  return stdout;
}

/** Where the runtime's program is; npm's links lead nowhere where install scripts were not allowed. */
function denoProgram(): string {
  const scope = join(modules, "@deno");
  const [platform] = readdirSync(scope);
  return join(scope, platform as string, "deno");
}

interface Packed {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string } | string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
}

/** What the stranger's project needs of npm: packed from this workspace, so that no registry is asked. */
function packNeeded(): Record<string, string> {
  const names = ["croner", "zod", "drizzle-orm", "postgres", "@types/node", "undici-types"];
  const folders = names.map((name) => join(modules, name));
  const files = runIn(home, "npm", "pack", "--ignore-scripts", "--silent", ...folders)
    .trim()
    .split("\n");
  return Object.fromEntries(names.map((name, index) => [name, `file:${join(home, files[index] as string)}`]));
}

/** Builds, packs and installs into an empty project. */
beforeAll(() => {
  runIn(root, process.execPath, join("libs", "sluice", "build.ts"), build);
  runIn(build, process.execPath, "pm", "pack", "--quiet", "--filename", join(home, "sluice.tgz"));
  mkdirSync(stranger);
  const dependencies = { sluice: `file:${join(home, "sluice.tgz")}`, ...packNeeded() };
  writeFileSync(
    join(stranger, "package.json"),
    JSON.stringify({
      name: "stranger",
      private: true,
      type: "module",
      dependencies,
      // Asked for by @types/node, too: npm would look that up even though what is wanted lies here.
      overrides: { "undici-types": "$undici-types" },
    }),
  );
  runIn(stranger, "npm", "install", "--offline", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error");
  writeFileSync(join(stranger, "consumer.ts"), consumerText);
}, 120_000);

const installed = () => join(stranger, "node_modules", "sluice");
const manifest = () => JSON.parse(readFileSync(join(installed(), "package.json"), "utf8")) as Packed;

test("the package has what it says, and nothing of the workspace", () => {
  const packed = manifest();
  expect(packed).toMatchObject({ name: "sluice", license: "MIT" });
  expect(packed.version).toBe(
    (JSON.parse(readFileSync(join(root, "libs/sluice/package.json"), "utf8")) as Packed).version,
  );
  const files = readdirSync(installed(), { recursive: true, encoding: "utf8" });
  for (const entry of Object.values(packed.exports)) {
    for (const path of typeof entry === "string" ? [entry] : [entry.types, entry.default]) {
      expect(files).toContain(path.replace("./", ""));
    }
  }
  expect(files).toContain("README.md");
  expect(readFileSync(join(installed(), "LICENSE"), "utf8")).toContain("the Sluice authors");
  const texts = files.filter((path) => /\.(js|ts|json)$/.test(path));
  expect(texts.length).toBeGreaterThan(20);
  for (const path of texts) {
    const text = readFileSync(join(installed(), path), "utf8");
    expect(text, path).not.toContain("@sluice/");
    expect(text, path).not.toContain(root);
    expect(text, path).not.toMatch(/from "bun[:"]|\bBun\./);
  }
  expect(files.filter((path) => /\.test\.|-fixture\.|(?<!\.d)\.ts$/.test(path))).toEqual([]);
});

test("the SQL is inside: no file is read when it runs", () => {
  const script = readFileSync(join(installed(), "index.js"), "utf8");
  expect(script).toContain("create table sluice.migrations");
  expect(script).not.toMatch(/from "[^"]*\.sql"/);
});

test("what the bundle imports is what package.json names", () => {
  const packed = manifest() as Packed & { readonly optionalDependencies: Readonly<Record<string, string>> };
  const named = new Set(
    Object.keys({ ...packed.dependencies, ...packed.peerDependencies, ...packed.optionalDependencies }),
  );
  const scripts = readdirSync(installed()).filter((path) => path.endsWith(".js"));
  const used = scripts.flatMap((path) =>
    [...readFileSync(join(installed(), path), "utf8").matchAll(/^import[^;]*?from "([^"]+)"|^import "([^"]+)"/gm)].map(
      (match) => match[1] ?? (match[2] as string),
    ),
  );
  const packages = new Set(
    used.filter((name) => !/^(node:|\.)/.test(name)).map((name) => name.split("/")[0] as string),
  );
  const builtIn = [
    "child_process",
    "fs",
    "path",
    "os",
    "crypto",
    "net",
    "module",
    "timers",
    "buffer",
    "util",
    "process",
  ];
  for (const name of builtIn) packages.delete(name);
  expect([...packages].sort()).toEqual(["croner", "drizzle-orm", "postgres", "zod"]);
  for (const name of packages) expect(named).toContain(name);
});

test.each([
  ["bundler", { module: "preserve", moduleResolution: "bundler" }],
  ["nodenext", { module: "nodenext", moduleResolution: "nodenext" }],
])("the README's first consumer type-checks with %s resolution", (name, options) => {
  const check = (text: string, skipLibCheck: boolean) => {
    writeFileSync(join(stranger, `checked-${name}.ts`), text);
    writeFileSync(
      join(stranger, `tsconfig.${name}.json`),
      JSON.stringify({
        compilerOptions: {
          ...options,
          target: "esnext",
          lib: ["esnext"],
          strict: true,
          noEmit: true,
          skipLibCheck,
          types: ["node"],
        },
        files: [`checked-${name}.ts`],
      }),
    );
    const compiler = join(modules, "typescript", "bin", "tsc");
    return spawnSync("node", [compiler, "-p", `tsconfig.${name}.json`], { cwd: stranger, encoding: "utf8" });
  };
  expect(check(consumerText, true).stdout).toBe("");
  // Our own declarations hold without skipLibCheck; what drizzle's say of databases that are not installed is theirs.
  const strict = check(consumerText, false)
    .stdout.split("\n")
    .filter((line) => /error TS/.test(line));
  expect(strict.filter((line) => line.includes("node_modules/sluice/") || !line.includes("node_modules/"))).toEqual([]);
  // The declarations are not `any`: a wrong value is refused.
  const wrong = check(
    `import { connect, topic } from "sluice";\nimport { z } from "zod";\nconst t = topic("t", { schema: z.object({ id: z.string() }) });\nawait (await connect()).send(t, { id: 1 });\nexport {};\n`,
    true,
  );
  expect(wrong.stdout).toContain("TS2322");
});

/** What the consumer's page leaves to the reader: another program that sends, over the installed package too. */
const senderText = `
import { connect, topic } from "sluice";
import { z } from "zod";

const signups = topic("signups", { schema: z.object({ userId: z.string(), email: z.email() }) });
await using sluice = await connect();
const result = await sluice.send(signups, { userId: "u1", email: "ada@example.com" }, { key: "u1" });
console.log(result.status);
`;

test.each([
  ["Bun", () => [process.execPath]],
  ["Deno", () => [denoProgram(), "run", "--allow-all", "--no-check", "--no-lock", "--node-modules-dir=manual"]],
])("the README's first consumer receives what another program sends, under %s", async (_, command) => {
  await using database = await testDatabase({ migrated: false });
  const [file, ...parameters] = command() as [string, ...string[]];
  const environment = { ...process.env, NO_COLOR: "1", DATABASE_URL: database.url };
  writeFileSync(join(stranger, "sender.ts"), senderText);
  const start = (script: string) => {
    const child = spawn(file, [...parameters, script], { cwd: stranger, env: environment });
    const program = { child, said: "", ended: once(child, "close") };
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (part: Buffer) => {
        program.said += part.toString();
      });
    }
    return program;
  };
  const sender = start("sender.ts");
  await sender.ended;
  expect(sender.said).toBe("appended\n");
  const receiver = start("consumer.ts");
  try {
    await until(
      () => receiver.said.includes("ada@example.com"),
      () => receiver.said,
    );
    receiver.child.kill("SIGTERM");
    expect(await receiver.ended).toEqual([0, null]);
    expect(receiver.said).not.toMatch(/"level":"(warn|error)"/);
  } finally {
    receiver.child.kill("SIGKILL");
    await receiver.ended;
  }
});

/** Resolves once it holds; after 30 seconds it fails with what was said. */
async function until(holds: () => boolean, said: () => string): Promise<void> {
  const endsAt = performance.now() + 30_000;
  while (!holds()) {
    if (performance.now() > endsAt) throw new Error(`it was not received; the consumer said:\n${said()}`);
    await wait(20);
  }
}
