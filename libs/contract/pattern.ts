import { limits, type Problem, problemsError } from "@sluice/kernel";
import { type Topic, type TopicOptions, topic } from "./topic.ts";
import { schemaProblem } from "./value.ts";

/** What all topics of a pattern are declared with: see {@link TopicOptions}. How they are kept is their own affair. */
export type PatternOptions<Value> = Pick<TopicOptions<Value>, "schema" | "key">;

/** Topics by their names, present and future. Make one with {@link pattern}. */
export interface TopicPattern<Value> {
  readonly pattern: string;
  /** Whether a topic of that name is meant. */
  matches(name: string): boolean;
  /** The declaration of one of its topics. */
  topicOf(name: string): Topic<Value>;
}

/** A pattern whose value type does not matter: for lists of them. */
// biome-ignore lint/suspicious/noExplicitAny: Topic is invariant in its value, so no other type holds them all
export type AnyTopicPattern = TopicPattern<any>;

/**
 * Declares all topics whose names match, to be consumed by one consumer: those there are and those that will be. A name is
 * words with dots between; `*` stands for one word, `#` for any number of words, none included, as in AMQP's topic exchanges.
 *
 * Fails with INVALID_OPTIONS and every problem at once.
 *
 * @example
 * const paid = pattern("orders.*.paid", { schema: z.object({ order: z.string() }) })
 * const book = consumer(paid, { group: "bookkeeping", handler: (c) => console.log(c.topic, c.value.order) })
 */
export function pattern<Value>(text: string, options: PatternOptions<Value>): TopicPattern<Value> {
  const problems = patternProblems(text, options);
  if (problems.length > 0) {
    throw problemsError("INVALID_OPTIONS", `pattern ${JSON.stringify(text)} is not declared well:`, problems);
  }
  const words = text.split(".");
  const topics = new Map<string, Topic<Value>>();
  return {
    pattern: text,
    matches: (name) => matchesWords(words, name.split(".")),
    topicOf(name) {
      const declared = topics.get(name) ?? topic(name, options);
      topics.set(name, declared);
      return declared;
    },
  };
}

function patternProblems<Value>(text: unknown, { schema, key }: PatternOptions<Value>): Problem[] {
  const problems: Problem[] = [];
  if (typeof text !== "string" || text === "" || text.length > limits.topicNameCharacters) {
    problems.push({ path: "pattern", message: `must be 1 to ${limits.topicNameCharacters} characters` });
  } else {
    for (const word of text.split(".")) {
      if (/^(?:\*|#|[A-Za-z0-9_-]*)$/.test(word)) continue;
      const message = `${JSON.stringify(word)} is neither *, # nor a word of letters, digits, "_" and "-"`;
      problems.push({ path: "pattern", message });
    }
  }
  const message = schema === undefined ? "is missing" : schemaProblem(schema);
  if (message !== undefined) problems.push({ path: "schema", message });
  if (key !== undefined && typeof key !== "function") {
    problems.push({ path: "key", message: "must be a function of the value" });
  }
  return problems;
}

/** Goes through the name once, and keeps which places of the pattern may come next. */
function matchesWords(wanted: readonly string[], words: readonly string[]): boolean {
  let places = skipMany(wanted, new Set([0]));
  for (const word of words) {
    const next = new Set<number>();
    for (const place of places) {
      if (wanted[place] === "#") next.add(place);
      else if (wanted[place] === "*" || wanted[place] === word) next.add(place + 1);
    }
    places = skipMany(wanted, next);
  }
  return places.has(wanted.length);
}

/** A `#` may stand for no word at all. */
function skipMany(wanted: readonly string[], places: Set<number>): Set<number> {
  // What is added while a set is gone through is come to as well.
  for (const place of places) if (wanted[place] === "#") places.add(place + 1);
  return places;
}
