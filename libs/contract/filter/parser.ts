import { limits } from "@sluice/kernel";
import { type Keyword, type Token, tokensOf } from "./lexer.ts";
import { likePattern } from "./like.ts";
import type { Comparison, FilterNode, FilterOperand } from "./node.ts";
import { FilterSyntaxError } from "./syntax-error.ts";

/** Reads an expression. Fails with FilterSyntaxError at the first thing that is wrong. */
export function parseExpression(text: string): FilterNode {
  return new Parser(tokensOf(text)).whole();
}

const operandExpected = "a header's name, key, tag, timestamp, a 'text' or a number";
const comparisonExpected = "=, <>, <, <=, >, >=, in, between, like, is null, or not before one of those";

/** Recursive descent, by at most `limits.filterDepth` levels, over at most `limits.filterNodes` conditions and values. */
class Parser {
  readonly #tokens: readonly Token[];
  #position = 0;
  #nodes = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): FilterNode {
    const root = this.#or();
    if (this.#token.kind !== "end") throw this.#unexpected("and, or, or the end");
    return root;
  }

  get #token(): Token {
    // The last token is the end, and nothing passes it.
    return this.#tokens[Math.min(this.#position, this.#tokens.length - 1)] as Token;
  }

  #or(): FilterNode {
    const parts = [this.#and()];
    while (this.#takeKeyword("or")) parts.push(this.#and());
    return parts.length === 1 ? (parts[0] as FilterNode) : { kind: "or", parts };
  }

  #and(): FilterNode {
    const parts = [this.#not()];
    while (this.#takeKeyword("and")) parts.push(this.#not());
    return parts.length === 1 ? (parts[0] as FilterNode) : { kind: "and", parts };
  }

  #not(): FilterNode {
    const { at } = this.#token;
    if (!this.#takeKeyword("not")) return this.#primary();
    this.#count(at);
    return { kind: "not", part: this.#deeper(at, () => this.#not()) };
  }

  #primary(): FilterNode {
    const { at } = this.#token;
    if (this.#takeSymbol("(")) {
      const inside = this.#deeper(at, () => this.#or());
      this.#needSymbol(")", "and, or, or )");
      return inside;
    }
    if (this.#takeKeyword("exists")) {
      this.#count(at);
      this.#needSymbol("(", "(");
      const operand = this.#operand("a header's name, key, tag or timestamp");
      if (isConstant(operand))
        throw new FilterSyntaxError(this.#before.at, "a constant always exists; a name is expected");
      this.#needSymbol(")", ")");
      return { kind: "exists", operand };
    }
    return this.#comparison();
  }

  #comparison(): FilterNode {
    const { at } = this.#token;
    this.#count(at);
    const left = this.#operand(`not, exists, (, ${operandExpected}`);
    const { kind, spelling } = this.#token;
    if (kind === "symbol" && spelling !== "(" && spelling !== ")" && spelling !== ",") {
      const comparison = (spelling === "!=" ? "<>" : spelling) as Comparison;
      this.#position += 1;
      return this.#compare(at, comparison, left, this.#operand(operandExpected));
    }
    if (this.#takeKeyword("is")) {
      const isNot = this.#takeKeyword("not");
      if (!this.#takeKeyword("null")) throw this.#unexpected(isNot ? "null" : "null or not null");
      this.#mustVary(at, left);
      const exists: FilterNode = { kind: "exists", operand: left };
      return isNot ? exists : { kind: "not", part: exists };
    }
    const isNot = this.#takeKeyword("not");
    const condition = this.#rangeOf(at, left);
    return isNot ? { kind: "not", part: condition } : condition;
  }

  /** What may stand after `not`: `in`, `between` and `like`. */
  #rangeOf(at: number, operand: FilterOperand): FilterNode {
    if (this.#takeKeyword("in")) return this.#in(at, operand);
    if (this.#takeKeyword("like")) return this.#like(at, operand);
    if (!this.#takeKeyword("between")) throw this.#unexpected(comparisonExpected);
    const low = this.#operand(operandExpected);
    if (!this.#takeKeyword("and")) throw this.#unexpected("and");
    const high = this.#operand(operandExpected);
    return {
      kind: "and",
      parts: [this.#compare(at, ">=", operand, low), this.#compare(at, "<=", operand, high)],
    };
  }

  #in(at: number, operand: FilterOperand): FilterNode {
    this.#mustVary(at, operand);
    this.#needSymbol("(", "(");
    const values: string[] = [];
    let first: Token | undefined;
    do {
      const token = this.#token;
      if (token.kind !== "text" && token.kind !== "number") throw this.#unexpected("a 'text' or a number");
      first ??= token;
      if (token.kind !== first.kind) throw new FilterSyntaxError(token.at, "a list holds texts or numbers, not both");
      this.#count(token.at);
      values.push(token.value);
      this.#position += 1;
    } while (this.#takeSymbol(","));
    this.#needSymbol(")", ", or )");
    const numeric = first.kind === "number";
    if (operand.kind === "timestamp" && !numeric) throw new FilterSyntaxError(first.at, timestampIsNumber);
    return { kind: "in", operand, values, numeric };
  }

  #like(at: number, operand: FilterOperand): FilterNode {
    this.#mustVary(at, operand);
    if (operand.kind === "timestamp") throw new FilterSyntaxError(at, `${timestampIsNumber}; like compares texts`);
    const token = this.#token;
    if (token.kind !== "text") throw this.#unexpected("a pattern such as 'eu-%'");
    this.#position += 1;
    let escaping: string | undefined;
    if (this.#takeKeyword("escape")) {
      const said = this.#token;
      if (said.kind !== "text" || [...said.value].length !== 1) throw this.#unexpected("one character, such as '!'");
      escaping = said.value;
      this.#position += 1;
    }
    const pattern = likePattern(token.value, escaping);
    if (typeof pattern === "string") throw new FilterSyntaxError(token.at, pattern);
    return { kind: "like", operand, pattern };
  }

  #compare(at: number, comparison: Comparison, left: FilterOperand, right: FilterOperand): FilterNode {
    if (isConstant(left) && isConstant(right)) throw new FilterSyntaxError(at, "two constants are compared");
    const numeric = [left, right].some(({ kind }) => kind === "number" || kind === "timestamp");
    if (numeric && (left.kind === "text" || right.kind === "text")) {
      throw new FilterSyntaxError(at, `${timestampIsNumber}, and is compared with a text`);
    }
    return { kind: "compare", comparison, left, right, numeric };
  }

  #operand(expected: string): FilterOperand {
    const token = this.#token;
    if (token.kind === "text" || token.kind === "number") {
      this.#position += 1;
      return { kind: token.kind, value: token.value };
    }
    if (token.kind !== "name") throw this.#unexpected(expected);
    this.#position += 1;
    if (!token.isQuoted && (token.name === "key" || token.name === "timestamp")) return { kind: token.name };
    return { kind: "header", name: token.name };
  }

  #mustVary(at: number, operand: FilterOperand): void {
    if (isConstant(operand)) throw new FilterSyntaxError(at, "a name is expected here, not a constant");
  }

  #deeper(at: number, parse: () => FilterNode): FilterNode {
    this.#depth += 1;
    if (this.#depth > limits.filterDepth) {
      throw new FilterSyntaxError(at, `the filter is nested more than ${limits.filterDepth} deep`);
    }
    const node = parse();
    this.#depth -= 1;
    return node;
  }

  #count(at: number): void {
    this.#nodes += 1;
    if (this.#nodes > limits.filterNodes)
      throw new FilterSyntaxError(at, `the filter has more than ${limits.filterNodes} conditions and values`);
  }

  get #before(): Token {
    return this.#tokens[this.#position - 1] as Token;
  }

  #takeKeyword(word: Keyword): boolean {
    const token = this.#token;
    const isIt = token.kind === "keyword" && token.word === word;
    if (isIt) this.#position += 1;
    return isIt;
  }

  #takeSymbol(symbol: string): boolean {
    const token = this.#token;
    const isIt = token.kind === "symbol" && token.symbol === symbol;
    if (isIt) this.#position += 1;
    return isIt;
  }

  #needSymbol(symbol: string, expected: string): void {
    if (!this.#takeSymbol(symbol)) throw this.#unexpected(expected);
  }

  #unexpected(expected: string): FilterSyntaxError {
    const { at, kind, spelling } = this.#token;
    const found =
      kind === "end" ? "the end" : JSON.stringify(spelling.length > 40 ? `${spelling.slice(0, 40)}…` : spelling);
    return new FilterSyntaxError(at, `expected ${expected}, found ${found}`);
  }
}

const timestampIsNumber = "timestamp is a number (milliseconds since 1970)";

function isConstant({ kind }: FilterOperand): boolean {
  return kind === "text" || kind === "number";
}
