import { expect, test } from "bun:test";
import { join } from "node:path";
import { eventually } from "@sluice/app-kit/testing";
import { startChild } from "./child.ts";

const restless = {
  name: "restless",
  title: "Restless",
  what: "Ends when it is told to.",
  main: join(import.meta.dirname, "restless-fixture.ts"),
};

test("[A8] an app that ends unasked is started again; one that is closed is not", async () => {
  const stop = new AbortController();
  const child = await startChild(restless, { databaseUrl: "postgres://unused", host: "127.0.0.1", stop: stop.signal });
  const number = async () => await fetch(`${child.url}/number`).then((answer) => answer.text());
  const first = await number();
  await fetch(`${child.url}/end`, { method: "POST" });
  await eventually("another process answers", async () => {
    return child.url !== undefined && (await number().catch(() => first)) !== first;
  });
  const { url } = child;
  await child.close();
  expect(child.url).toBeUndefined();
  expect(await fetch(`${url}/number`).catch(() => "nobody")).toBe("nobody");
}, 60_000);
