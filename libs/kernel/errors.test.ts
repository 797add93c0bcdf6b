import { expect, test } from "bun:test";
import { nameAndMessage, toError } from "./errors.ts";
import { jsonLogger } from "./logger.ts";

class Hostile {
  toString(): string {
    throw new Error("never ask me");
  }
  get message(): string {
    throw new Error("never ask me either");
  }
}

function withGetter(name: "message" | "name" | "stack" | "code"): Error {
  const error = new Error("readable otherwise");
  Object.defineProperty(error, name, {
    get() {
      throw new Error("never ask me");
    },
  });
  return error;
}

const proxy = new Proxy(new Error("proxied"), {
  get() {
    throw new Error("never ask me");
  },
  getPrototypeOf() {
    throw new Error("nor whose child I am");
  },
});

test("whatever is thrown becomes an Error that can be read", () => {
  const cyclic = new Error("cyclic");
  cyclic.cause = cyclic;
  expect(toError(cyclic)).toBe(cyclic);
  expect(toError("a text").message).toBe("a text");
  expect(toError(undefined).message).toBe("a value that is no Error was thrown: undefined");
  const symbolic = Object.assign(new Error("symbolic"), { name: Symbol("name") });
  for (const thrown of [null, 7, new Hostile(), withGetter("message"), withGetter("name"), proxy, symbolic]) {
    const { name, message, cause } = toError(thrown);
    expect(`${name}: ${message}`).toStartWith("Error: a value that is no Error was thrown: ");
    expect(Object.is(cause, thrown)).toBe(true);
  }
});

/** What a logger writes while `log` runs. */
function written(log: () => void): readonly string[] {
  const lines: string[] = [];
  const write = process.stderr.write;
  process.stderr.write = (line: string | Uint8Array) => lines.push(String(line)) > 0;
  try {
    log();
  } finally {
    process.stderr.write = write;
  }
  return lines;
}

test("of a query builder's error nothing is told but what the database said: its own words hold the parameters", () => {
  const failedQuery = (more: object) => Object.assign(new Error("Failed query: insert …\nparams: ada@x.example"), more);
  const query = { query: "insert …", params: ["ada@x.example"] };
  const cause = Object.assign(new Error("duplicate key"), { name: "PostgresError" });
  const wrapped = failedQuery({ ...query, cause });
  expect(toError(wrapped)).toBe(cause);
  expect(nameAndMessage(wrapped)).toMatchObject({ name: "PostgresError", message: "duplicate key" });
  expect(toError(failedQuery(query)).message).toBe("a statement failed");
  const [line] = written(() => jsonLogger().log("error", "a request failed", { error: wrapped }));
  expect(line).toContain("duplicate key");
  expect(line).not.toContain("ada");
});

test("a log line can be written of any of them", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;
  const lines = written(() => {
    for (const thrown of [new Hostile(), withGetter("code"), Object.assign(new Error("odd"), { code: cyclic })]) {
      jsonLogger().log("info", "failed", { error: toError(thrown) });
    }
  });
  expect(lines.map((line) => JSON.parse(line).error.message)).toEqual([
    "a value that is no Error was thrown: object",
    "readable otherwise",
    "odd",
  ]);
});
