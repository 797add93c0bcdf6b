import { expect, test } from "bun:test";
import { limits } from "@sluice/kernel";
import { type FilteredRecord, matchesFilter } from "./filter/evaluate.ts";
import { parseFilter, readFilter } from "./filter.ts";

function problemOf(text: unknown): string {
  const filter = readFilter(text);
  if (!("path" in filter)) throw new Error(`it was taken: ${String(text).slice(0, 80)}`);
  expect(filter.path).toBe("filter");
  return filter.message;
}

const record = (headers: Record<string, string>, rest: Partial<FilteredRecord> = {}): FilteredRecord => ({
  key: null,
  timestamp: 0,
  headers,
  ...rest,
});

const passes = (text: string, headers: Record<string, string>, rest: Partial<FilteredRecord> = {}) =>
  matchesFilter(parseFilter(text), record(headers, rest));

test("[R6] tags in RocketMQ's spelling are a list of texts", () => {
  const tags = (...values: string[]) => ({
    kind: "in" as const,
    operand: { kind: "header" as const, name: "tag" },
    values,
    numeric: false,
  });
  expect(parseFilter("paid").root).toEqual(tags("paid"));
  expect(parseFilter(" paid||refunded ||  über-fällig.2 ").root).toEqual(tags("paid", "refunded", "über-fällig.2"));
  expect(problemOf(Array.from({ length: 257 }, () => "a").join("||"))).toContain("more than 256 tags");
  expect(problemOf("paid ||")).toBe(
    `at character 6: "|" has no meaning here; a name with it needs "quotation marks", a text 'these'`,
  );
});

test("[Q7] the grammar: what binds how, and what each form means", () => {
  const header = (name: string) => ({ kind: "header" as const, name });
  const is = (name: string, value: string) => ({
    kind: "compare" as const,
    comparison: "=" as const,
    left: header(name),
    right: { kind: "text" as const, value },
    numeric: false,
  });
  const [a, b, c] = [is("a", "1"), is("b", "2"), is("c", "3")];
  expect(parseFilter("a = '1' or b = '2' and c = '3'").root).toEqual({
    kind: "or",
    parts: [a, { kind: "and", parts: [b, c] }],
  });
  expect(parseFilter("(a = '1' OR b = '2') And c = '3'").root).toEqual({
    kind: "and",
    parts: [{ kind: "or", parts: [a, b] }, c],
  });
  expect(parseFilter("not a = '1' and b = '2'").root).toEqual({ kind: "and", parts: [{ kind: "not", part: a }, b] });
  expect(parseFilter("a is null").root).toEqual({ kind: "not", part: { kind: "exists", operand: header("a") } });
  expect(parseFilter("a is not null").root).toEqual(parseFilter("exists ( a )").root);
  expect(parseFilter("a not in ('1')").root).toEqual(parseFilter("not a in ('1')").root);
  expect(parseFilter("a not between 1 and 2").root).toEqual(parseFilter("not (a >= 1 and a <= 2)").root);
  expect(parseFilter("a!='1'").root).toEqual(parseFilter("a <> '1'").root);
  // Quotation marks make any name a header's, and two of them one.
  expect(parseFilter(`"x-""y" = 'it''s'`).root).toEqual(is('x-"y', "it's"));
  expect(parseFilter(`"key" = 'k'`).root).toEqual(is("key", "k"));
  expect(parseFilter("key = 'k'").root).toMatchObject({ left: { kind: "key" } });
  expect(parseFilter("naïve_1 = '1'").root).toEqual(is("naïve_1", "1"));
});

test("[Q7] what is wrong with a filter is told with its place and what was expected there", () => {
  expect(problemOf("")).toStartWith("at character 1: expected not, exists, (, a header's name");
  expect(problemOf("a = ")).toBe(
    "at character 5: expected a header's name, key, tag, timestamp, a 'text' or a number, found the end",
  );
  expect(problemOf("a = '1' b")).toBe('at character 9: expected and, or, or the end, found "b"');
  expect(problemOf("(a = '1'")).toBe("at character 9: expected and, or, or ), found the end");
  expect(problemOf("a '1'")).toStartWith("at character 3: expected =, <>");
  expect(problemOf("a is 1")).toBe('at character 6: expected null or not null, found "1"');
  expect(problemOf("a in ()")).toBe(`at character 7: expected a 'text' or a number, found ")"`);
  expect(problemOf("a in ('1', 2)")).toBe("at character 12: a list holds texts or numbers, not both");
  expect(problemOf("a between 1 or 2")).toBe('at character 13: expected and, found "or"');
  expect(problemOf("a like 5")).toBe(`at character 8: expected a pattern such as 'eu-%', found "5"`);
  expect(problemOf("a like 'x' escape 'ab'")).toStartWith("at character 19: expected one character");
  expect(problemOf("a like '!x' escape '!'")).toStartWith("at character 8: after its escape character");
  expect(problemOf("a like 'x!' escape '!'")).toBe("at character 8: a pattern does not end with its escape character");
  expect(problemOf("exists('a')")).toBe("at character 8: a constant always exists; a name is expected");
  expect(problemOf("1 = 1")).toBe("at character 1: two constants are compared");
  expect(problemOf("'a' in ('a')")).toBe("at character 1: a name is expected here, not a constant");
  expect(problemOf("timestamp = 'now'")).toStartWith("at character 1: timestamp is a number");
  expect(problemOf("timestamp in ('now')")).toStartWith("at character 15: timestamp is a number");
  expect(problemOf("timestamp like '1%'")).toStartWith("at character 1: timestamp is a number");
  expect(problemOf("a = 'x")).toBe("at character 5: a text begins here and has no closing quotation mark");
  expect(problemOf('"a = 1')).toBe("at character 1: a name begins here and has no closing quotation mark");
  for (const number of ["+1", ".5", "5.", "01", "1e", "1x", "1".repeat(41), "--1", "1e1000"]) {
    expect(problemOf(`a = ${number}`), number).toStartWith("at character 5: a number is written like");
  }
  expect(problemOf("a = 1; drop table x")).toStartWith('at character 6: ";" has no meaning here');
  expect(problemOf("a = '1' -- more")).toStartWith("at character 9: a number is written like");
  expect(problemOf(5)).toStartWith("must be a text");
  expect(problemOf(null)).toStartWith("must be a text");
  expect(problemOf("a = '\u0000'")).toBe("holds a NUL character or a lone surrogate");
  expect(problemOf("a = '\ud800'")).toBe("holds a NUL character or a lone surrogate");
  expect(() => parseFilter("a =")).toThrow("filter: at character 4");
});

test("[Q7] filters are bounded in length, depth and size", () => {
  expect(problemOf(`${"(".repeat(10_000)}a = '1'${")".repeat(10_000)}`)).toBe("has 20007 characters; at most 4096");
  expect(problemOf(`${"(".repeat(2_000)}a = '1'`)).toBe("at character 33: the filter is nested more than 32 deep");
  expect(problemOf(`${"not ".repeat(1_000)}a = 1`)).toContain("nested more than 32 deep");
  const deep = (levels: number) => `${"(".repeat(levels)}a = '1'${")".repeat(levels)}`;
  expect(passes(deep(limits.filterDepth), { a: "1" })).toBe(true);
  expect(problemOf(deep(limits.filterDepth + 1))).toContain("nested more than 32 deep");
  // Depth is counted by nesting, not by how many follow each other.
  expect(passes(Array.from({ length: 100 }, () => "(not (a = '2'))").join(" and "), { a: "1" })).toBe(true);
  const wide = (count: number) => Array.from({ length: count }, () => "a = 1").join(" or ");
  expect(passes(wide(limits.filterNodes), { a: "1" })).toBe(true);
  expect(problemOf(wide(limits.filterNodes + 1))).toContain("more than 256 conditions and values");
  expect(problemOf(`a in (${"1,".repeat(256)}1)`)).toContain("more than 256 conditions and values");
  // No pattern makes it try again and again.
  expect(passes(`a like '${"%a".repeat(1_000)}%b'`, { a: "a".repeat(5_000) })).toBe(false);
});

test("[Q7] and, or and not follow SQL's three values", () => {
  const values = { true: "a = '1'", false: "a = '2'", unknown: "missing = '1'" } as const;
  type Value = keyof typeof values;
  const verdict = (text: string): Value =>
    passes(text, { a: "1" }) ? "true" : passes(`not (${text})`, { a: "1" }) ? "false" : "unknown";
  const table: readonly (readonly [Value, Value, Value, Value])[] = [
    // left, right, and, or
    ["true", "true", "true", "true"],
    ["true", "false", "false", "true"],
    ["true", "unknown", "unknown", "true"],
    ["false", "true", "false", "true"],
    ["false", "false", "false", "false"],
    ["false", "unknown", "false", "unknown"],
    ["unknown", "true", "unknown", "true"],
    ["unknown", "false", "false", "unknown"],
    ["unknown", "unknown", "unknown", "unknown"],
  ];
  for (const [left, right, both, either] of table) {
    expect(verdict(`${values[left]} and ${values[right]}`), `${left} and ${right}`).toBe(both);
    expect(verdict(`${values[left]} or ${values[right]}`), `${left} or ${right}`).toBe(either);
  }
  expect(verdict(`not ${values.true}`)).toBe("false");
  expect(verdict(`not ${values.false}`)).toBe("true");
  expect(verdict(`not ${values.unknown}`)).toBe("unknown");
  for (const unknown of ["missing in ('1')", "missing like '%'", "missing between 1 and 2", "a < missing", "b > 5"]) {
    expect(verdict(unknown), unknown).toBe("unknown");
  }
  expect(verdict("missing is null")).toBe("true");
  expect(verdict("exists(missing)")).toBe("false");
});

test("[Q7] texts that are canonical numbers count as exact decimals, others make it unknown", () => {
  for (const same of ["100", "100.0", "1e2", "1E+2", "1000e-1"])
    expect(passes("a = 100", { a: same }), same).toBe(true);
  for (const none of [
    "",
    " 100",
    "100 ",
    `100.${"0".repeat(37)}`,
    "+100",
    "0100",
    "1_00",
    "0x64",
    "1e2000",
    "NaN",
    "Infinity",
    "١٠٠",
  ]) {
    expect(passes("a = 100 or a <> 100", { a: none }), none).toBe(false);
  }
  expect(passes("a > 9007199254740992", { a: "9007199254740993" })).toBe(true);
  expect(passes("a = 0.3", { a: "0.30" })).toBe(true);
  expect(passes("a < 0", { a: "-1e-300" })).toBe(true);
  expect(passes("a = 0", { a: "-0" })).toBe(true);
  // As texts they are only alike when they are spelled alike, and 10 comes before 9.
  expect(passes("a = '100'", { a: "1e2" })).toBe(false);
  expect(passes("a < '9'", { a: "10" })).toBe(true);
  expect(passes("100 <= a and a < 200", { a: "150" })).toBe(true);
  expect(passes("timestamp between 5 and 10", {}, { timestamp: 7 })).toBe(true);
  expect(passes("timestamp = sent", { sent: "7" }, { timestamp: 7 })).toBe(true);
});

test("[Q7] texts are ordered and matched by code point, and names are the record's own", () => {
  // U+1F600 is above U+FF61, although its first UTF-16 unit is below it.
  expect(passes("a > '｡'", { a: "😀" })).toBe(true);
  expect(passes("a like '_'", { a: "😀" })).toBe(true);
  expect(passes("a like '%x_z%'", { a: "axyz!" })).toBe(true);
  expect(passes("a like 'a%b%c'", { a: "abcbd" })).toBe(false);
  expect(passes("a like ''", { a: "" })).toBe(true);
  expect(passes("a like '%'", { a: "" })).toBe(true);
  expect(passes("a like '100!%' escape '!'", { a: "100%" })).toBe(true);
  expect(passes("a like '100!%' escape '!'", { a: "100x" })).toBe(false);
  expect(passes("a like '\\_'", { a: "\\x" })).toBe(true);
  expect(passes("exists(constructor)", {})).toBe(false);
  expect(passes("exists(__proto__)", JSON.parse('{"__proto__":"x"}'))).toBe(true);
  expect(passes("key = 'k'", {}, { key: "k" })).toBe(true);
  expect(passes("key is null", {})).toBe(true);
});
