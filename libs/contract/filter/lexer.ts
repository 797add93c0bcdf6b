import { numberCharacters } from "./node.ts";
import { FilterSyntaxError } from "./syntax-error.ts";

/** The words that are no names of headers, whatever their case. */
const keywords = ["and", "or", "not", "in", "between", "like", "escape", "is", "null", "exists"] as const;

/** A reserved word. */
export type Keyword = (typeof keywords)[number];

/** A piece of a filter's text. */
export type Token = { readonly at: number; readonly spelling: string } & (
  | { readonly kind: "keyword"; readonly word: Keyword }
  | { readonly kind: "name"; readonly name: string; readonly isQuoted: boolean }
  | { readonly kind: "text" | "number"; readonly value: string }
  | { readonly kind: "symbol"; readonly symbol: string }
  | { readonly kind: "end" }
);

const space = /\s+/y;
const name = /[\p{L}_$][\p{L}\p{M}\p{N}_$]*/uy;
const quotedName = /"((?:[^"]|"")*)"/y;
const text = /'((?:[^']|'')*)'/y;
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?(?![\p{L}\p{N}_$.])/uy;
const symbol = /<>|!=|<=|>=|[=<>(),]/y;

/** Takes a filter's text apart, in one pass. Fails with FilterSyntaxError at what is no piece of a filter. */
export function tokensOf(source: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = match(space, source, 0)?.[0].length ?? 0;
  while (at < source.length) {
    const token = tokenAt(source, at);
    tokens.push(token);
    at += token.spelling.length;
    at += match(space, source, at)?.[0].length ?? 0;
  }
  tokens.push({ kind: "end", at: source.length, spelling: "" });
  return tokens;
}

function tokenAt(source: string, at: number): Token {
  const word = match(name, source, at)?.[0];
  if (word !== undefined) {
    const keyword = keywords.find((one) => one === word.toLowerCase());
    return keyword === undefined
      ? { kind: "name", at, spelling: word, name: word, isQuoted: false }
      : { kind: "keyword", at, spelling: word, word: keyword };
  }
  const quoted = match(quotedName, source, at);
  if (quoted !== undefined) {
    const header = (quoted[1] ?? "").replaceAll('""', '"');
    return { kind: "name", at, spelling: quoted[0], name: header, isQuoted: true };
  }
  const literal = match(text, source, at);
  if (literal !== undefined) {
    return { kind: "text", at, spelling: literal[0], value: (literal[1] ?? "").replaceAll("''", "'") };
  }
  const digits = match(number, source, at)?.[0];
  if (digits !== undefined && digits.length <= numberCharacters)
    return { kind: "number", at, spelling: digits, value: digits };
  const sign = match(symbol, source, at)?.[0];
  if (sign !== undefined) return { kind: "symbol", at, spelling: sign, symbol: sign === "!=" ? "<>" : sign };
  throw new FilterSyntaxError(at, whatIsWrong(source, at));
}

function whatIsWrong(source: string, at: number): string {
  const first = String.fromCodePoint(source.codePointAt(at) ?? 0);
  if (first === "'") return "a text begins here and has no closing quotation mark";
  if (first === '"') return "a name begins here and has no closing quotation mark";
  if (/[-+.0-9]/.test(first)) {
    return `a number is written like 100, -2.5 or 1e3, with at most ${numberCharacters} characters`;
  }
  return `${JSON.stringify(first)} has no meaning here; a name with it needs "quotation marks", a text 'these'`;
}

function match(pattern: RegExp, source: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(source) ?? undefined;
}
