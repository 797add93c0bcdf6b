import { expect, test } from "bun:test";
import { isSluiceError, type SluiceError } from "@sluice/kernel";
import fc from "fast-check";
import { z } from "zod";
import { bytes, isUnstorable, schemaProblem, valueCodec } from "./value.ts";

function refusal(work: () => unknown): SluiceError {
  try {
    work();
  } catch (error) {
    if (isSluiceError(error)) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

const order = valueCodec(
  "topic orders",
  z.object({ id: z.string(), lines: z.array(z.object({ count: z.number(), note: z.string().optional() })) }),
);

test("[N5] what is encoded is decoded to the same", () => {
  const value = fc.record({
    id: fc.string({ unit: "binary" }).filter((text) => !isUnstorable(text)),
    lines: fc.array(fc.record({ count: fc.integer() })),
  });
  fc.assert(fc.property(value, (one) => expect(order.decode(JSON.parse(order.encode(one)))).toEqual(one)));
});

test("[N5] what does not fit is refused with its path, going and coming", () => {
  const wrong = { id: "o1", lines: [{ count: 1 }, { count: "two" as unknown as number }] };
  const refused = refusal(() => order.encode(wrong));
  expect([refused.code, refused.problems.map(({ path }) => path)]).toEqual(["INVALID_VALUE", ["lines[1].count"]]);
  expect(refused.message).not.toContain("two");
  expect(refusal(() => order.decode({ id: 1, lines: [] })).problems.map(({ path }) => path)).toEqual(["id"]);
});

test("[N5] who changes what was decoded changes nothing of what it was decoded from", () => {
  const wire = { list: [{ count: 1 }], map: { one: { count: 1 } }, text: "as sent" };
  const part = z.object({ count: z.number() });
  const schemas: Readonly<Record<string, z.ZodType>> = {
    any: z.any(),
    unknown: z.object({ list: z.unknown(), map: z.unknown(), text: z.string() }),
    json: z.json(),
    loose: z.looseObject({ text: z.string() }),
    catchall: z.object({ text: z.string() }).catchall(z.any()),
    record: z.record(z.string(), z.any()),
    nested: z.object({ list: z.array(z.looseObject({})), map: z.record(z.string(), z.unknown()), text: z.string() }),
    union: z.union([z.number(), z.object({ list: z.array(z.any()), map: z.any(), text: z.string() })]),
    lazy: z.lazy(() => z.object({ list: z.array(part), map: z.record(z.string(), z.any()), text: z.string() })),
    strict: z.strictObject({ list: z.array(part), map: z.record(z.string(), part), text: z.string() }),
  };
  for (const [name, schema] of Object.entries(schemas)) {
    const given = structuredClone(wire);
    const decoded = valueCodec(`topic ${name}`, schema).decode(given) as typeof wire;
    expect(decoded).toEqual(wire);
    decoded.text = "changed";
    decoded.list.push({ count: 2 });
    Object.assign(decoded.list[0] ?? {}, { count: 3 });
    Object.assign(decoded.map.one, { count: 4 });
    expect([name, given]).toEqual([name, wire]);
  }
});

test("[N4] text that Postgres cannot show is refused wherever it hides; an escaped backslash is no such text", () => {
  const any = valueCodec("topic any", z.any());
  for (const [value, path] of [
    ["a\u0000", ""],
    [{ list: ["fine", "\ud800"] }, "list[1]"],
    [{ "\u0000": 1 }, "\u0000"],
  ] as const)
    expect(refusal(() => any.encode(value)).problems.map((problem) => problem.path)).toEqual([path]);
  expect(JSON.parse(any.encode("\\u0000 \u0001 😀"))).toBe("\\u0000 \u0001 😀");
});

test("what JSON cannot hold is refused, never thrown raw", () => {
  const any = valueCodec("topic any", z.any());
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  for (const value of [undefined, () => 1, { big: 1n }, cycle])
    expect(refusal(() => any.encode(value)).code).toBe("INVALID_VALUE");
});

test("bytes go as they are, any of them, and come back", () => {
  const codec = valueCodec("topic images", bytes());
  expect(codec.encoding).toBe("bytes");
  fc.assert(
    fc.property(fc.uint8Array(), (value) => expect(codec.decode(JSON.parse(codec.encode(value)))).toEqual(value)),
  );
  expect(refusal(() => codec.decode("no base64!")).code).toBe("INVALID_VALUE");
  expect(refusal(() => codec.decode(7)).code).toBe("INVALID_VALUE");
});

test("a schema whose wire form is not JSON is told", () => {
  expect(schemaProblem(z.object({ at: z.date() }))).toContain("must be JSON");
  expect(schemaProblem(z.object({ at: z.iso.datetime() }))).toBeUndefined();
  expect(schemaProblem(bytes())).toBeUndefined();
});
