import { expect, test } from "bun:test";
import { toError } from "./errors.ts";
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

test("a log line can be written of any of them", () => {
  const lines: string[] = [];
  const write = process.stderr.write;
  process.stderr.write = (line: string | Uint8Array) => lines.push(String(line)) > 0;
  try {
    const cyclic: Record<string, unknown> = {};
    cyclic["self"] = cyclic;
    for (const thrown of [new Hostile(), withGetter("code"), Object.assign(new Error("odd"), { code: cyclic })]) {
      jsonLogger().log("info", "failed", { error: toError(thrown) });
    }
  } finally {
    process.stderr.write = write;
  }
  expect(lines.map((line) => JSON.parse(line).error.message)).toEqual([
    "a value that is no Error was thrown: object",
    "readable otherwise",
    "odd",
  ]);
});
