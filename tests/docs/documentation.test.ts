import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { temporaryFolder, testDatabase } from "@sluice/testkit";
import postgres from "postgres";
import { connect, silentLogger, topic } from "sluice";
import { z } from "zod";
import { projectFiles, root } from "../tidy/project-files.ts";
import { type Block, blocksOf, firstConsumer } from "./blocks.ts";

setDefaultTimeout(120_000);

interface DocumentBlock extends Block {
  readonly path: string;
}

const documents = projectFiles().filter((path) => /^(README\.md|docs\/[^/]+\.md|apps\/[^/]+\/README\.md)$/.test(path));
const blocks = documents.flatMap((path) =>
  blocksOf(readFileSync(join(root, path), "utf8")).map((block): DocumentBlock => ({ ...block, path })),
);

/** Type-checks texts as modules of this workspace, all at once; gives what the compiler says of each that is wrong. */
function typeErrors(texts: Readonly<Record<string, string>>): string[] {
  // Below the project, so that packages are found as a reader's would be; git ignores it.
  mkdirSync(join(root, ".sluice"), { recursive: true });
  using temporary = temporaryFolder("documentation", join(root, ".sluice"));
  const folder = temporary.path;
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(folder, `${name}.ts`), `${text}\nexport {};\n`);
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      extends: "../../tsconfig.json",
      // An example shows a thing without always using it.
      compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
      include: ["*.ts", "../../libs/store/sql.d.ts"],
    }),
  );
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status, stdout } = spawnSync("node", [compiler, "-p", folder], { cwd: folder, encoding: "utf8" });
  const errors = stdout.split("\n").filter((line) => line.includes(": error TS"));
  if (status !== 0 && errors.length === 0) throw new Error(`the compiler ended with ${status}: ${stdout}`);
  return errors;
}

test("every ts block of the documentation type-checks", () => {
  const examples = blocks.filter(({ language }) => language === "ts");
  const name = ({ path, line }: DocumentBlock) => `${path.replaceAll(/[/.]/g, "-").toLowerCase()}-line-${line}`;
  expect(typeErrors(Object.fromEntries(examples.map((block) => [name(block), block.text])))).toEqual([]);
  expect(documents).toContain("README.md");
  expect(examples.length).toBeGreaterThanOrEqual(1);
});

test("the check of ts blocks sees a wrong value, a wrong name and a syntax error", () => {
  const imports = 'import { connect, topic } from "sluice";\nimport { z } from "zod";\n';
  const errors = typeErrors({
    good: `${imports}const t = topic("t", { schema: z.string() });\nawait (await connect()).send(t, "x");`,
    value: `${imports}const t = topic("t", { schema: z.string() });\nawait (await connect()).send(t, 1);`,
    name: 'import { consume } from "sluice";',
  });
  const files = new Set(errors.map((error) => error.slice(0, error.indexOf("("))));
  expect([...files].sort()).toEqual(["name.ts", "value.ts"]);
  // One of these keeps the compiler from looking further.
  expect(typeErrors({ syntax: "const = 1;" }).join()).toContain("syntax.ts");
});

test("the first consumer is 15 lines of code at most", () => {
  const lines = firstConsumer(readFileSync(join(root, "README.md"), "utf8")).split("\n");
  expect(lines.filter((line) => line.trim() !== "").length).toBeLessThanOrEqual(15);
});

/** Runs SQL on a fresh database with the topics that it names, and `before` where it names tables of an app. */
async function runSql(text: string, before = ""): Promise<number> {
  await using database = await testDatabase();
  const named = [...text.matchAll(/\btopics\."?([a-z0-9_-]+)|\bsluice\.send\('([^']+)'/g)];
  const topics = [...new Set(named.map((match) => match[1] ?? (match[2] as string)))];
  const connection = await connect({
    url: database.url,
    logger: silentLogger,
    topics: topics.map((name) => topic(name, { schema: z.any() })),
  });
  await connection.close();
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  try {
    if (before !== "") await sql.unsafe(before).simple();
    const results = await sql.unsafe(text).simple();
    // Several statements give an array of results, one gives its rows.
    return Array.isArray(results[0]) ? results.length : 1;
  } finally {
    await sql.end();
  }
}

test("every sql block of a README runs", async () => {
  const examples = blocks.filter(({ language }) => language === "sql");
  let statements = 0;
  for (const { path, line, text } of examples) {
    const schema = join(dirname(path), "schema.sql");
    const before =
      path !== "README.md" && projectFiles().includes(schema) ? readFileSync(join(root, schema), "utf8") : "";
    statements += await runSql(text, before).catch((error: Error) => {
      throw new Error(`${path}, line ${line}: ${error.message}`, { cause: error });
    });
  }
  if (readFileSync(join(root, "README.md"), "utf8").includes("```sql")) expect(statements).toBeGreaterThanOrEqual(3);
});

test("the check of sql blocks sees a name that is not there", async () => {
  expect(await runSql("select * from topics.orders; select lag from sluice.lag;")).toBe(2);
  await expect(runSql("select nonsense from topics.orders;")).rejects.toThrow("nonsense");
  await expect(runSql("select * from sluice.laggards;")).rejects.toThrow("laggards");
});

test("blocks are found with their language, line and heading", () => {
  const text = "# One\n\n```ts\na\n```\n## Two\n```\nplain\n```\n```sql\nselect 1\n```\n";
  expect(blocksOf(text)).toEqual([
    { language: "ts", text: "a\n", line: 4, heading: "One" },
    { language: "", text: "plain\n", line: 8, heading: "Two" },
    { language: "sql", text: "select 1\n", line: 11, heading: "Two" },
  ]);
  expect(() => blocksOf("```ts\nnever closed")).toThrow("line 2");
});
