import { expect, test } from "bun:test";
import { type Deferred, deferred } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import { Appenders } from "./appenders.ts";

/** Connections that answer when they are told to, and tell which of them was asked what. */
function connections(count: number) {
  const asked: { readonly connection: number; readonly statement: string; readonly answer: Deferred<[]> }[] = [];
  const pools = Array.from({ length: count }, (_, connection) => ({
    query(_what: string, statement: string) {
      const answer = deferred<[]>();
      asked.push({ connection, statement, answer });
      return answer.promise;
    },
  }));
  const appenders = new Appenders(pools as unknown as Pool[]);
  const append = (topic: number, statement: string, follows = false) =>
    appenders.query({ topic, follows }, "appending", statement, [], 1_000);
  return { asked, append, where: () => asked.map(({ connection, statement }) => `${statement}: ${connection}`) };
}

test("what follows another append of its topic takes the same connection, anything else a free one", () => {
  const { append, where } = connections(3);
  append(1, "a1");
  append(2, "b1");
  append(1, "a2", true);
  append(2, "b2", true);
  append(3, "c1");
  expect(where()).toEqual(["a1: 0", "b1: 1", "a2: 0", "b2: 1", "c1: 2"]);
});

test("a lone sender stays on one connection, and when all are busy the least busy is taken", async () => {
  const { append, asked, where } = connections(2);
  const first = append(1, "a1");
  asked[0]?.answer.resolve([]);
  await first;
  append(1, "a2");
  append(1, "a3", true);
  append(2, "b1");
  append(3, "c1");
  expect(where()).toEqual(["a1: 0", "a2: 0", "a3: 0", "b1: 1", "c1: 1"]);
});

test("a connection whose append failed is free again", async () => {
  const { append, asked, where } = connections(2);
  const first = append(1, "a1");
  asked[0]?.answer.reject(new Error("lost"));
  await expect(first).rejects.toThrow("lost");
  append(1, "a2");
  expect(where()).toEqual(["a1: 0", "a2: 0"]);
});
