import { basename } from "node:path";

/** A rule of style: what is wrong with a file, by its path from the project's folder and its text. */
export interface Rule {
  readonly name: string;
  /** The files that it reads. */
  readonly applies: (path: string) => boolean;
  readonly problems: (path: string, text: string) => string[];
}

const isCode = (path: string) => /\.(ts|mts|mjs|js)$/.test(path) && !path.endsWith(".d.ts");
const isTypeScript = (path: string) => path.endsWith(".ts") && !path.endsWith(".d.ts");
const isText = (path: string) => /\.(ts|mts|mjs|js|sql|md|json|yaml|css|txt)$|(^|\/)[^.]+$/.test(path);
const isTest = (path: string) => /\.test\.ts$/.test(path);
/** These hold what is forbidden, to forbid it. */
const isRuleBook = (path: string) => /^tests\/tidy\/style[a-z.-]*\.ts$/.test(path);

function linesThat(text: string, matches: (line: string) => boolean): string[] {
  return text.split("\n").flatMap((line, index) => (matches(line) ? [`line ${index + 1}: ${line.trim()}`] : []));
}

/** Without comments and the contents of strings, so that a rule about code reads code. */
function codeOf(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, (part) =>
    part.startsWith('"') || part.startsWith("'") ? '""' : "\n".repeat(part.split("\n").length - 1),
  );
}

/** The names that an index.ts passes on, by the file that has them. */
export function surfaceOf(index: string): { readonly from: string; readonly name: string }[] {
  return [...index.matchAll(/export (?:type )?\{([^}]*)\} from "(\.[^"]+)"/g)].flatMap(([, names, from]) =>
    (names as string)
      .split(",")
      .map(
        (name) =>
          name
            .trim()
            .replace(/^type /, "")
            .split(" as ")[0] as string,
      )
      .filter((name) => name !== "")
      .map((name) => ({ from: from as string, name })),
  );
}

/** Whether the file declares the name with a doc comment that says something, right above it. */
export function isDocumented(text: string, name: string): boolean {
  const declaration = `export (?:declare )?(?:abstract )?(?:async )?(?:const|let|function\\*?|class|interface|type|enum) ${name}\\b`;
  const found = new RegExp(`(^|\\n)(?:[ \\t]*//[^\\n]*\\n)*[ \\t]*${declaration}`).exec(text);
  if (found === null) return false;
  const before = text.slice(0, found.index).trimEnd();
  return /\/\*\*(?:(?!\*\/)[\s\S])*\w(?:(?!\*\/)[\s\S])*\*\/$/.test(before);
}

/** The rules that look at one file at a time. */
export const rules: readonly Rule[] = [
  {
    name: "at most 400 lines",
    applies: (path) => isCode(path) || path.endsWith(".css"),
    problems: (_, text) => {
      const lines = text.trimEnd().split("\n").length;
      return lines > 400 ? [`has ${lines} lines`] : [];
    },
  },
  {
    name: "kebab-case names",
    applies: (path) => !/^migrations\//.test(path) && /\.(ts|mts|mjs|js|sql|css|yaml|html)$/.test(path),
    problems: (path) =>
      path
        .split("/")
        .filter((part) => !/^\.?[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/.test(part))
        .map((part) => `${part} is not kebab-case`),
  },
  {
    name: "numbered migrations",
    applies: (path) => /^migrations\/.*\.sql$/.test(path) && basename(path) !== "schema.sql",
    problems: (path) =>
      /^\d{4}_[a-z0-9_]+\.sql$/.test(basename(path)) ? [] : ["is not named like 0001_what_it_does.sql"],
  },
  {
    name: "rooms by responsibility",
    applies: (path) => /^(libs|apps)\//.test(path),
    problems: (path) =>
      path
        .split("/")
        .filter((part) => /^(utils?|common|helpers?|misc|shared)(\.ts)?$/.test(part))
        .map((part) => `${part} names no responsibility`),
  },
  {
    name: "no any",
    applies: (path) => isTypeScript(path) && !isRuleBook(path),
    problems: (_, text) => {
      const permitted = new Set(
        text
          .split("\n")
          .flatMap((line, index) =>
            /biome-ignore lint\/suspicious\/noExplicitAny: \S+/.test(line) ? [index + 2] : [],
          ),
      );
      return linesThat(codeOf(text), (line) => /\bas any\b|[:<|,]\s*any\b(?!\()/.test(line)).filter(
        (line) => !permitted.has(Number(/^line (\d+)/.exec(line)?.[1])),
      );
    },
  },
  {
    name: "no test alone",
    applies: (path) => isTest(path) && !isRuleBook(path),
    problems: (_, text) => linesThat(codeOf(text), (line) => /\.only\(|\bonly: true/.test(line)),
  },
  {
    name: "a skip has a reason",
    applies: (path) => isTest(path) && !isRuleBook(path),
    problems: (_, text) =>
      linesThat(text, (line) =>
        // test.skip("…") and skip: true say nothing of why; t.skip("why") and skip: reason do, and so does a line above.
        /\b(test|it|describe)\.(skip|todo)\(|\bskip: true|\bt\.skip\(\)/.test(line),
      ),
  },
  {
    name: "nothing left for later",
    applies: (path) => isText(path) && !isRuleBook(path),
    problems: (_, text) => linesThat(text, (line) => /\b(TODO|FIXME|XXX|HACK)\b/.test(line)),
  },
  {
    name: "SQL says what it locks",
    applies: (path) => /^libs\/.*\.sql$/.test(path),
    problems: (_, text) => {
      const header = /^(?:--[^\n]*\n)+/.exec(text)?.[0] ?? "";
      return [
        ...(/^-- *[A-Z]/.test(header) ? [] : ["does not begin with its purpose"]),
        ...(/^--.*\bLocks: *\S/m.test(header) ? [] : ["has no line with Locks: in its header"]),
      ];
    },
  },
  {
    name: "no path of one machine",
    applies: (path) => isText(path) && !isRuleBook(path),
    problems: (_, text) =>
      linesThat(text, (line) => /(^|[\s"'`(=:])\/(home|Users|work|root|mnt)\/[A-Za-z]|\bC:\\\\?Users/.test(line)),
  },
];
