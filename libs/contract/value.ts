import { type Problem, problemsError, SluiceError } from "@sluice/kernel";
import { z } from "zod";

/** Turns values into the JSON text that the log keeps, and back. One per topic. */
export interface ValueCodec<Value> {
  /** How the log's view shows values: as JSON, or as bytes. */
  readonly encoding: "json" | "bytes";
  /** Checks and encodes. Fails with INVALID_VALUE and the paths; nothing else is thrown. */
  encode(value: Value): string;
  /**
   * Checks and decodes what `JSON.parse` made of the text; whoever changes the result changes nothing of that. Fails with INVALID_VALUE
   * and the paths.
   */
  decode(wire: unknown): Value;
}

const bytesSchemas = new WeakSet<object>();

/**
 * The schema of a topic whose values are bytes, not JSON: images, protobuf, anything. The topic's view shows them
 * as `bytea`.
 *
 * @example
 * const thumbnails = topic("thumbnails", { schema: bytes() })
 */
export function bytes(): z.ZodType<Uint8Array> {
  const schema = z.instanceof(Uint8Array);
  bytesSchemas.add(schema);
  return schema;
}

/** The codec of a topic's schema; `subject` names the topic in errors. */
export function valueCodec<Value>(subject: string, schema: z.ZodType<Value>): ValueCodec<Value> {
  return bytesSchemas.has(schema) ? (bytesCodec(subject) as unknown as ValueCodec<Value>) : jsonCodec(subject, schema);
}

/** What makes a schema unfit for a topic, or `undefined`: its wire form must be JSON. */
export function schemaProblem(schema: z.ZodType): string | undefined {
  if (bytesSchemas.has(schema)) return undefined;
  try {
    z.toJSONSchema(schema, { io: "input" });
    return undefined;
  } catch (error) {
    return `${(error as Error).message}: its wire form must be JSON; wrap it in z.codec(), e.g. z.codec(z.iso.datetime(), z.date(), …) for dates, or use bytes()`;
  }
}

/**
 * Whether what a schema lets through may be, in part, the very objects that it was given, as with `z.any()`. Others are
 * made anew by checking them.
 */
function passesThrough(schema: z.ZodType): boolean {
  try {
    return holdsAnything(z.toJSONSchema(schema, { io: "input" }));
  } catch {
    // It has no JSON form, so nothing is known of it.
    return true;
  }
}

const constraints = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "not"];

/** Whether a JSON schema has a place where anything is allowed: one that says nothing of its type. */
function holdsAnything(node: unknown): boolean {
  if (typeof node !== "object" || node === null) return node === true;
  if (!constraints.some((name) => name in node)) return true;
  const { properties, $defs, additionalProperties, items, prefixItems, anyOf, oneOf, allOf } = node as Record<
    string,
    object | boolean | undefined
  >;
  const several = [properties, $defs, prefixItems, anyOf, oneOf, allOf].flatMap((part) => Object.values(part ?? {}));
  return [additionalProperties, items, ...several].some((part) => part !== undefined && holdsAnything(part));
}

function jsonCodec<Value>(subject: string, schema: z.ZodType<Value>): ValueCodec<Value> {
  const isCopied = passesThrough(schema);
  return {
    encoding: "json",
    encode(value) {
      const encoded = safeEncode(subject, schema, value);
      const text = stringify(subject, encoded);
      // JSON.stringify writes \u only for control characters and lone surrogates, so most texts end the check here.
      if (text.includes("\\u")) refuseUnstorable(subject, encoded);
      return text;
    },
    decode(wire) {
      const decoded = schema.safeParse(isCopied ? structuredClone(wire) : wire);
      if (decoded.success) return decoded.data;
      throw mismatch(`a record of ${subject} does not fit its schema`, decoded.error);
    },
  };
}

function safeEncode<Value>(subject: string, schema: z.ZodType<Value>, value: Value): unknown {
  let encoded: z.ZodSafeParseResult<unknown>;
  try {
    encoded = z.safeEncode(schema, value);
  } catch (error) {
    throw new SluiceError(
      "INVALID_OPTIONS",
      `the schema of ${subject} cannot be used to send: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
  if (encoded.success) return encoded.data;
  throw mismatch(`the value does not fit the schema of ${subject}; nothing was sent`, encoded.error);
}

function stringify(subject: string, value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    // A cycle or a bigint under z.any(): the schema let it through, JSON cannot hold it.
    throw new SluiceError("INVALID_VALUE", `the value cannot be written as JSON; nothing was sent to ${subject}`, {
      cause: error,
      problems: [
        { path: findPath(value, (part) => typeof part === "bigint") ?? "", message: (error as Error).message },
      ],
    });
  }
  if (text !== undefined) return text;
  throw problemsError("INVALID_VALUE", `the value cannot be written as JSON; nothing was sent to ${subject}`, [
    { path: "", message: `${typeof value} has no JSON form` },
  ]);
}

/** Postgres cannot show JSON strings with NUL or with half a surrogate pair, and a queue that SQL cannot read is no use. */
function refuseUnstorable(subject: string, value: unknown): void {
  const path = findPath(value, (part) => typeof part === "string" && isUnstorable(part));
  if (path === undefined) return;
  throw problemsError("INVALID_VALUE", `the value cannot be stored; nothing was sent to ${subject}`, [
    { path, message: "holds a NUL character or a lone surrogate, which Postgres cannot show as text" },
  ]);
}

/** Whether a text holds what Postgres cannot show: NUL, or a surrogate without its other half. */
export function isUnstorable(text: string): boolean {
  return text.includes("\u0000") || !text.isWellFormed();
}

function bytesCodec(subject: string): ValueCodec<Uint8Array> {
  return {
    encoding: "bytes",
    encode(value) {
      if (value instanceof Uint8Array) return `"${value.toBase64()}"`;
      throw problemsError("INVALID_VALUE", `the value does not fit the schema of ${subject}; nothing was sent`, [
        { path: "", message: "must be a Uint8Array" },
      ]);
    },
    decode(wire) {
      if (typeof wire === "string") return fromBase64(subject, wire);
      throw problemsError("INVALID_VALUE", `a record of ${subject} does not fit its schema`, [
        { path: "", message: "must be base64 text" },
      ]);
    },
  };
}

function fromBase64(subject: string, text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch (error) {
    throw new SluiceError("INVALID_VALUE", `a record of ${subject} is not base64 text`, { cause: error });
  }
}

function mismatch(subject: string, error: z.core.$ZodError): SluiceError {
  return problemsError(
    "INVALID_VALUE",
    subject,
    error.issues.map((issue): Problem => ({ path: pathText(issue.path), message: issue.message })),
  );
}

/** `["address", "street", 2]` as `address.street[2]`. */
function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : text === "" ? String(part) : `${text}.${String(part)}`,
    "",
  );
}

/** The path of the first part (keys of objects included) that `matches`, depth first; cycles are entered once. */
function findPath(value: unknown, matches: (part: unknown) => boolean): string | undefined {
  const seen = new Set<object>();
  const visit = (part: unknown, path: PropertyKey[]): string | undefined => {
    if (matches(part)) return pathText(path);
    if (typeof part !== "object" || part === null || seen.has(part)) return undefined;
    seen.add(part);
    for (const [name, child] of Object.entries(part)) {
      const childPath = [...path, Array.isArray(part) ? Number(name) : name];
      const found = matches(name) ? pathText(childPath) : visit(child, childPath);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return visit(value, []);
}
