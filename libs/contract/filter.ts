import { limits, type Problem, problemsError } from "@sluice/kernel";
import type { Filter, FilterNode } from "./filter/node.ts";
import { parseExpression } from "./filter/parser.ts";
import { FilterSyntaxError } from "./filter/syntax-error.ts";
import { isUnstorable } from "./value.ts";

/**
 * Reads a filter. Fails with INVALID_OPTIONS, which says where its text is wrong and what was expected there.
 *
 * @example
 * parseFilter("tag in ('paid', 'refunded') and amount >= 100")
 */
export function parseFilter(text: string): Filter {
  const filter = readFilter(text);
  if ("path" in filter) throw problemsError("INVALID_OPTIONS", "the filter is not written well:", [filter]);
  return filter;
}

/** Reads a filter, or says what is wrong with it. */
export function readFilter(text: unknown): Filter | Problem {
  const problem = (message: string): Problem => ({ path: "filter", message });
  if (typeof text !== "string") return problem("must be a text such as \"tag = 'paid'\"");
  if (text.length > limits.filterCharacters) {
    return problem(`has ${text.length} characters; at most ${limits.filterCharacters}`);
  }
  if (isUnstorable(text)) return problem("holds a NUL character or a lone surrogate");
  try {
    return { text, root: tagsFilter(text) ?? parseExpression(text) };
  } catch (error) {
    if (error instanceof FilterSyntaxError) return problem(error.message);
    throw error;
  }
}

/** `paid || refunded`: RocketMQ's spelling of tags. No expression looks like that. */
const tagsOnly = /^\s*[\p{L}\p{N}_.:-]+(?:\s*\|\|\s*[\p{L}\p{N}_.:-]+)*\s*$/u;

function tagsFilter(text: string): FilterNode | undefined {
  if (!tagsOnly.test(text)) return undefined;
  const values = text.split("||").map((tag) => tag.trim());
  if (values.length > limits.filterNodes) {
    throw new FilterSyntaxError(0, `the filter has more than ${limits.filterNodes} tags`);
  }
  return { kind: "in", operand: { kind: "header", name: "tag" }, values, numeric: false };
}
