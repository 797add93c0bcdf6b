import { expect, test } from "bun:test";
import { silentLogger } from "sluice";
import { readFields } from "./fields.ts";
import { webFrame } from "./frame.ts";

let isHealthy = true;
const web = webFrame({
  logger: silentLogger,
  checkHealth: async () => {
    if (!isHealthy) throw new Error("a secret of the database");
  },
});
web.post("/fields", async (c) => c.json((await readFields(c)) ?? null));
web.get("/broken", () => {
  throw new Error("a secret of the code");
});

test("health is 200 while the app can work and 503 when not; no answer holds the text of an error", async () => {
  expect((await web.request("/health")).status).toBe(200);
  isHealthy = false;
  for (const [path, status] of [
    ["/health", 503],
    ["/broken", 500],
    ["/nowhere", 404],
  ] as const) {
    const response = await web.request(path);
    expect(response.status).toBe(status);
    expect(await response.text()).not.toContain("secret");
  }
});

test("every answer forbids inline scripts, other sites' content and being framed", async () => {
  const response = await web.request("/kit/style.css");
  expect(response.headers.get("content-type")).toContain("text/css");
  const policy = response.headers.get("content-security-policy") ?? "";
  expect(policy).toContain("default-src 'self'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).not.toContain("unsafe");
  // Else a browser names no origin with a plain form, and the form is refused.
  expect(response.headers.get("referrer-policy")).toBe("same-origin");
});

test.each([
  { what: "JSON", type: "application/json", body: '{"a":1}', fields: { isForm: false, values: { a: 1 } } },
  {
    what: "a form",
    type: "application/x-www-form-urlencoded",
    body: "a=1",
    fields: { isForm: true, values: { a: "1" } },
  },
  { what: "a list", type: "application/json", body: "[1]", fields: null },
  { what: "broken JSON", type: "application/json", body: '{"a":', fields: null },
  { what: "text", type: "text/plain", body: "a=1", fields: null },
  { what: "a form that is none", type: "multipart/form-data", body: "a=1", fields: null },
])("fields of $what", async ({ type, body, fields }) => {
  const response = await web.request("/fields", { method: "POST", headers: { "content-type": type }, body });
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual(fields);
});

test("a body over the limit is refused", async () => {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ a: "x".repeat(17_000) });
  expect((await web.request("/fields", { method: "POST", headers, body })).status).toBe(413);
});
