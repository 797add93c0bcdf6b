import { expect, test } from "bun:test";
import { Hono } from "hono";
import { sameOriginOnly } from "./same-origin.ts";

const routes = new Hono();
routes.use(sameOriginOnly);
routes.all("/", (c) => c.text("reached"));

const ask = (method: string, headers: Record<string, string>) =>
  routes.request("http://127.0.0.1:3000/", { method, headers: { host: "127.0.0.1:3000", ...headers } });

test("another site's page may read but not change anything, whatever it sends", async () => {
  for (const origin of ["https://evil.example", "http://127.0.0.1:3001", "null", "not a url"]) {
    for (const type of ["application/json", "application/x-www-form-urlencoded", "text/plain"]) {
      const response = await ask("POST", { origin, "content-type": type });
      expect(response.status).toBe(403);
    }
    expect((await ask("GET", { origin })).status).toBe(200);
  }
});

test("the own page and clients that are no browsers may", async () => {
  expect((await ask("POST", { origin: "http://127.0.0.1:3000" })).status).toBe(200);
  expect((await ask("POST", { origin: "https://127.0.0.1:3000" })).status).toBe(200);
  expect((await ask("POST", {})).status).toBe(200);
});
