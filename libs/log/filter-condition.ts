import {
  type Filter,
  type FilterNode,
  type FilterOperand,
  type LikePart,
  numberCharacters,
  numberForm,
} from "@sluice/contract";

/** A filter as a condition in SQL. */
export interface FilterCondition {
  /**
   * True, false or null for the record `r(key, attributes)` of the batch `s`. Made of Sluice's own words alone: what the
   * filter's author wrote is only ever a parameter, names of headers too.
   */
  readonly text: string;
  /** The values of its parameters. */
  readonly parameters: readonly string[];
  /** Whether it looks at keys. */
  readonly usesKeys: boolean;
}

/** Turns a filter into a condition whose parameters begin at number `first`. Its shape alone decides the text. */
export function conditionOf(filter: Filter, first: number): FilterCondition {
  const writer = new ConditionWriter(first);
  const text = writer.condition(filter.root);
  return { text, parameters: writer.parameters, usesKeys: writer.usesKeys };
}

class ConditionWriter {
  readonly parameters: string[] = [];
  usesKeys = false;
  readonly #first: number;

  constructor(first: number) {
    this.#first = first;
  }

  condition(node: FilterNode): string {
    switch (node.kind) {
      case "and":
      case "or":
        return `(${node.parts.map((part) => this.condition(part)).join(` ${node.kind} `)})`;
      case "not":
        return `(not ${this.condition(node.part)})`;
      case "exists":
        return node.operand.kind === "timestamp" ? "true" : `(${this.#text(node.operand)} is not null)`;
      case "like":
        return `(${this.#text(node.operand)} collate "C" like ${this.#parameter(likeText(node.pattern))})`;
      case "in": {
        // A list and no array: Postgres would read an array's literal again for every record.
        const values = node.values.map((value) => `${this.#parameter(value)}${node.numeric ? "::numeric" : ""}`);
        const operand = node.numeric ? this.#number(node.operand) : `${this.#text(node.operand)} collate "C"`;
        return `(${operand} in (${values.join(", ")}))`;
      }
      case "compare": {
        const { comparison } = node;
        return node.numeric
          ? `(${this.#number(node.left)} ${comparison} ${this.#number(node.right)})`
          : `(${this.#text(node.left)} collate "C" ${comparison} ${this.#text(node.right)})`;
      }
    }
  }

  #text(operand: FilterOperand): string {
    switch (operand.kind) {
      case "header":
        return `(r.attributes -> 'headers' ->> ${this.#parameter(operand.name)})`;
      case "key":
        this.usesKeys = true;
        return "r.key";
      case "timestamp":
        return `(${timestampNumber})::text`;
      default:
        return this.#parameter(operand.value);
    }
  }

  #number(operand: FilterOperand): string {
    if (operand.kind === "timestamp") return timestampNumber;
    if (operand.kind === "number") return `${this.#parameter(operand.value)}::numeric`;
    const text = this.#text(operand);
    // What has not the form is null, and every text that has it can be cast.
    return `(case when length(${text}) <= ${numberCharacters} and ${text} ~ '${numberForm}' then ${text}::numeric end)`;
  }

  #parameter(value: string): string {
    const known = this.parameters.indexOf(value);
    if (known < 0) this.parameters.push(value);
    return `$${this.#first + (known < 0 ? this.parameters.length - 1 : known)}::text`;
  }
}

const timestampNumber =
  "coalesce((r.attributes ->> 'timestamp')::numeric, floor(extract(epoch from s.appended_at) * 1000))";

/** The pattern as Postgres reads it, whose escape character is the backslash. */
function likeText(pattern: readonly LikePart[]): string {
  return pattern
    .map((part) => {
      if (part === "many") return "%";
      if (part === "one") return "_";
      return /[%_\\]/.test(part.character) ? `\\${part.character}` : part.character;
    })
    .join("");
}
