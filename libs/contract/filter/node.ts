/** What a filter may look at of a record, and what it compares that with. */
export type FilterOperand =
  | { readonly kind: "header"; readonly name: string }
  | { readonly kind: "key" }
  | { readonly kind: "timestamp" }
  | { readonly kind: "text"; readonly value: string }
  /** As it was written, within {@link numberForm}: compared as an exact decimal. */
  | { readonly kind: "number"; readonly value: string };

/** How two operands are compared. */
export type Comparison = "=" | "<>" | "<" | "<=" | ">" | ">=";

/** A condition: true, false or unknown for each record. */
export type FilterNode =
  | { readonly kind: "and" | "or"; readonly parts: readonly FilterNode[] }
  | { readonly kind: "not"; readonly part: FilterNode }
  | {
      readonly kind: "compare";
      readonly comparison: Comparison;
      readonly left: FilterOperand;
      readonly right: FilterOperand;
      /** As numbers: a text that is none makes it unknown. Else as texts, by code point. */
      readonly numeric: boolean;
    }
  | {
      readonly kind: "in";
      readonly operand: FilterOperand;
      readonly values: readonly string[];
      readonly numeric: boolean;
    }
  | { readonly kind: "like"; readonly operand: FilterOperand; readonly pattern: readonly LikePart[] }
  | { readonly kind: "exists"; readonly operand: FilterOperand };

/** A part of a pattern: one character as it is, any one (`_`), or any number of any (`%`). */
export type LikePart = { readonly character: string } | "one" | "many";

/** A parsed filter. Make one with `parseFilter`. */
export interface Filter {
  /** As it was written. */
  readonly text: string;
  readonly root: FilterNode;
}

/**
 * The texts that count as numbers: JSON's grammar with an exponent of at most three digits, in at most
 * {@link numberCharacters}, so that every one of them is an exact decimal, for Postgres too. Written for both: bounded
 * repetitions and groups that do not capture would double Postgres' time.
 */
export const numberForm = "^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9][0-9]?[0-9]?)?$";

/** Characters of a text that counts as a number, at most. */
export const numberCharacters = 40;
