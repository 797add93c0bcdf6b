import { expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { StartError } from "../start-error.ts";
import { listen } from "./listen.ts";

const answer = () => new Response("here");

/** Not every machine has the newer kind of address. */
const hasNewer = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));
const hosts = ["127.0.0.1", "localhost", "0.0.0.0", ...(hasNewer ? ["::1", "::"] : [])];

test.each(hosts)("at %s, its URL leads to it", async (host) => {
  const server = listen({ host, port: 0 }, answer);
  try {
    expect(await (await fetch(server.url)).text()).toBe("here");
  } finally {
    await server.close();
  }
});

test("a host that is none of this machine and a port that is taken are refused in one line", async () => {
  const refusal = (host: string, port: number | undefined) => {
    try {
      listen({ host, port }, answer);
    } catch (error) {
      if (error instanceof StartError) return [error.exitCode, error.message];
      throw error;
    }
    return "listens";
  };
  expect(refusal("nosuchhost.invalid", undefined)).toEqual([64, expect.stringContaining("HOST")]);
  expect(refusal("nosuchhost.invalid", 0)).toEqual([69, expect.stringContaining("HOST")]);
  const server = listen({ host: "127.0.0.1", port: 0 }, answer);
  expect(refusal("127.0.0.1", Number(new URL(server.url).port))).toEqual([69, expect.stringContaining("is taken")]);
  await server.close();
});
