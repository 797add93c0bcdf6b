import { isLike } from "./like.ts";
import {
  type Comparison,
  type Filter,
  type FilterNode,
  type FilterOperand,
  numberCharacters,
  numberForm,
} from "./node.ts";

/** What a filter looks at. */
export interface FilteredRecord {
  readonly key: string | null;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

/** `undefined` is unknown: what a comparison with something absent is. */
type Verdict = boolean | undefined;

/** Whether a record passes: its verdict is true, not false and not unknown. The database's verdict is the same. */
export function matchesFilter(filter: Filter, record: FilteredRecord): boolean {
  return verdictOf(filter.root, record) === true;
}

function verdictOf(node: FilterNode, record: FilteredRecord): Verdict {
  switch (node.kind) {
    case "and":
      return decide(node.parts, record, false);
    case "or":
      return decide(node.parts, record, true);
    case "not": {
      const verdict = verdictOf(node.part, record);
      return verdict === undefined ? undefined : !verdict;
    }
    case "exists":
      return textOf(node.operand, record) !== undefined;
    case "like": {
      const text = textOf(node.operand, record);
      return text === undefined ? undefined : isLike(text, node.pattern);
    }
    case "in": {
      const order = ordering(textOf(node.operand, record), node.numeric);
      return order === undefined ? undefined : node.values.some((value) => order(value) === 0);
    }
    case "compare": {
      const right = textOf(node.right, record);
      const order = ordering(textOf(node.left, record), node.numeric)?.(right);
      return order === undefined ? undefined : holds(node.comparison, order);
    }
  }
}

/** `deciding` if one part says so; else unknown if one is; else the opposite. */
function decide(parts: readonly FilterNode[], record: FilteredRecord, deciding: boolean): Verdict {
  let verdict: Verdict = !deciding;
  for (const part of parts) {
    const one = verdictOf(part, record);
    if (one === deciding) return deciding;
    if (one === undefined) verdict = undefined;
  }
  return verdict;
}

function textOf(operand: FilterOperand, record: FilteredRecord): string | undefined {
  switch (operand.kind) {
    case "header":
      return Object.hasOwn(record.headers, operand.name) ? record.headers[operand.name] : undefined;
    case "key":
      return record.key ?? undefined;
    case "timestamp":
      return String(record.timestamp);
    default:
      return operand.value;
  }
}

/** Compares one thing with others: below 0, 0, above 0, or unknown. `undefined` when every comparison is unknown. */
function ordering(
  left: string | undefined,
  numeric: boolean,
): ((right: string | undefined) => number | undefined) | undefined {
  if (left === undefined) return undefined;
  if (!numeric) return (right) => (right === undefined ? undefined : compareTexts(left, right));
  const number = decimalOf(left);
  if (number === undefined) return undefined;
  return (right) => {
    const other = right === undefined ? undefined : decimalOf(right);
    return other === undefined ? undefined : compareDecimals(number, other);
  };
}

function holds(comparison: Comparison, order: number): boolean {
  switch (comparison) {
    case "=":
      return order === 0;
    case "<>":
      return order !== 0;
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
  }
}

/** By code point, as Postgres' collation "C" orders UTF-8. JavaScript's own order has the surrogates in the wrong place. */
function compareTexts(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let at = 0; at < length; at += 1) {
    const [a, b] = [left.charCodeAt(at), right.charCodeAt(at)];
    if (a !== b) return rank(a) - rank(b);
  }
  return left.length - right.length;
}

/** Surrogates stand for code points above all that one unit can name. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** `mantissa` times ten to the `exponent`. */
interface Decimal {
  readonly mantissa: bigint;
  readonly exponent: number;
}

const numberPattern = new RegExp(numberForm);

function decimalOf(text: string): Decimal | undefined {
  if (text.length > numberCharacters || !numberPattern.test(text)) return undefined;
  const [digits = "", exponent = "0"] = text.toLowerCase().split("e");
  const [whole = "", fraction = ""] = digits.split(".");
  return { mantissa: BigInt(whole + fraction), exponent: Number(exponent) - fraction.length };
}

function compareDecimals(left: Decimal, right: Decimal): number {
  const exponent = Math.min(left.exponent, right.exponent);
  const scaled = ({ mantissa, exponent: own }: Decimal) => mantissa * 10n ** BigInt(own - exponent);
  const [a, b] = [scaled(left), scaled(right)];
  return a < b ? -1 : a > b ? 1 : 0;
}
