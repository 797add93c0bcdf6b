import { expect, test } from "bun:test";
import { isSluiceError } from "@sluice/kernel";
import fc from "fast-check";
import { z } from "zod";
import { consumer } from "./consumer.ts";
import { pattern } from "./pattern.ts";

const schema = z.number();

test("[Q8] [Q1] patterns match as AMQP's topic exchanges do", () => {
  // The first ones are the examples of RabbitMQ's tutorial and of the AMQP 0-9-1 specification.
  const table: Readonly<Record<string, { readonly fits: readonly string[]; readonly not: readonly string[] }>> = {
    "*.orange.*": {
      fits: ["quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"],
      not: ["lazy.brown.fox", "orange", "quick.orange.male.rabbit", "orange.x"],
    },
    "*.*.rabbit": { fits: ["quick.orange.rabbit"], not: ["rabbit", "orange.rabbit", "lazy.orange.male.rabbit"] },
    "lazy.#": {
      fits: ["lazy", "lazy.pink.rabbit", "lazy.orange.male.rabbit"],
      not: ["quick.lazy", "lazyness", "quick.brown.fox"],
    },
    "*.stock.#": { fits: ["usd.stock", "eur.stock.db"], not: ["stock.nasdaq", "stock"] },
    "#": { fits: ["a", "a.b", "a.b.c.d"], not: [] },
    "*": { fits: ["a", "a-b_c"], not: ["a.b"] },
    "#.#": { fits: ["a", "a.b", "a.b.c"], not: [] },
    "#.*": { fits: ["a", "a.b"], not: [] },
    "#.b.#": { fits: ["b", "a.b", "b.c", "a.b.c", "a.a.b.c.c"], not: ["a", "bb", "a.c"] },
    "orders.*.paid": {
      fits: ["orders.eu.paid", "orders..paid"],
      not: ["orders.paid", "orders.eu.de.paid", "Orders.eu.paid"],
    },
    orders: { fits: ["orders"], not: ["orders.", "order", "orders.eu"] },
  };
  for (const [text, { fits, not }] of Object.entries(table)) {
    const { matches } = pattern(text, { schema });
    for (const name of fits) expect(matches(name), `${text} and ${name}`).toBe(true);
    for (const name of not) expect(matches(name), `${text} and ${name}`).toBe(false);
  }
});

test("[Q8] any pattern matches what a search through all readings finds, and never takes long", () => {
  const search = (wanted: readonly string[], words: readonly string[]): boolean => {
    const [first, ...rest] = wanted;
    if (first === undefined) return words.length === 0;
    if (first === "#") return search(rest, words) || (words.length > 0 && search(wanted, words.slice(1)));
    return words.length > 0 && (first === "*" || first === words[0]) && search(rest, words.slice(1));
  };
  const words = fc.array(fc.constantFrom("a", "b", ""), { minLength: 1, maxLength: 6 });
  const wanted = fc.array(fc.constantFrom("a", "b", "*", "#"), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(wanted, words, (pieces, name) => {
      expect(pattern(pieces.join("."), { schema }).matches(name.join("."))).toBe(search(pieces, name));
    }),
    { numRuns: 2_000 },
  );
  const worst = pattern(`${"#.".repeat(30)}b`, { schema });
  expect(worst.matches(`${"a.".repeat(30)}a`)).toBe(false);
});

test("[Q8] a pattern that is not declared well is refused with every problem", () => {
  const problemsOf = (text: unknown, options: unknown = { schema }) => {
    try {
      pattern(text as string, options as { schema: typeof schema });
    } catch (error) {
      if (isSluiceError(error, "INVALID_OPTIONS"))
        return error.problems.map(({ path, message }) => `${path}: ${message}`);
      throw error;
    }
    return [];
  };
  expect(problemsOf("orders.*")).toEqual([]);
  expect(problemsOf("")).toEqual(["pattern: must be 1 to 63 characters"]);
  expect(problemsOf("a".repeat(64))).toEqual(["pattern: must be 1 to 63 characters"]);
  expect(problemsOf(5)).toEqual(["pattern: must be 1 to 63 characters"]);
  expect(problemsOf("ord*.a b.#x", {})).toEqual([
    'pattern: "ord*" is neither *, # nor a word of letters, digits, "_" and "-"',
    'pattern: "a b" is neither *, # nor a word of letters, digits, "_" and "-"',
    'pattern: "#x" is neither *, # nor a word of letters, digits, "_" and "-"',
    "schema: is missing",
  ]);
  expect(problemsOf("a", { schema: z.date(), key: "id" })).toEqual([
    expect.stringContaining("schema: "),
    "key: must be a function of the value",
  ]);
  expect(() => consumer(pattern("a.*", { schema }), { group: "", handler: () => undefined })).toThrow("of pattern a.*");
});
