import { expect, test } from "bun:test";
import { lags } from "@sluice/app-kit";
import { deadlineMs, eventually } from "@sluice/app-kit/testing";
import { signUp, signupForm } from "./signup.ts";
import { person, startTestService, type TestService } from "./testing.ts";

async function messagesAndUsers(service: TestService): Promise<{ messages: number; users: number }> {
  const [counts] = await service.database.sql<{ messages: number; users: number }[]>`
    select (select count(*)::int from topics.signups) as messages, (select count(*)::int from signup.users) as users`;
  return counts ?? { messages: -1, users: -1 };
}

test("the form names every field that is wrong, and nothing is written", async () => {
  await using service = await startTestService();
  const response = await service.post({ name: " ", email: "nobody", phone: "0151" });
  expect(response.status).toBe(400);
  const { fields } = (await response.json()) as { fields: Record<string, string[]> };
  expect(fields).toEqual({
    name: ["Please tell us your name."],
    email: ["This is not an e-mail address."],
    phone: ["Please write it with the country code: +49 151 12345678."],
  });
  expect((await service.post({})).status).toBe(400);
  expect((await service.post([])).status).toBe(415);
  expect((await service.post(person(1), { "content-type": "text/plain" })).status).toBe(415);
  expect((await service.post({ ...person(1), name: "x".repeat(20_000) })).status).toBe(413);
  expect(await messagesAndUsers(service)).toEqual({ messages: 0, users: 0 });
});

test.each([
  { what: "a name with NUL", field: "name", value: "a\u0000b" },
  { what: "a name with half a surrogate pair", field: "name", value: "\ud800" },
  { what: "a name of 101 letters", field: "name", value: "x".repeat(101) },
  { what: "an address of 262 letters", field: "email", value: `${"x".repeat(250)}@example.org` },
  { what: "an address with a second header in it", field: "email", value: "a@example.org\r\nBcc: b@example.org" },
  { what: "a number of 18 digits", field: "phone", value: "+491511234567890123" },
])("$what is refused", ({ field, value }) => {
  const parsed = signupForm.safeParse({ ...person(1), [field]: value });
  expect(parsed.error?.issues.map((issue) => issue.path[0])).toContain(field);
});

test("a plain form works without scripts: redirect when accepted, the page with its errors when not", async () => {
  await using service = await startTestService();
  const post = (values: Record<string, string>) =>
    fetch(`${service.url}/signup`, { method: "POST", body: new URLSearchParams(values), redirect: "manual" });
  const accepted = await post(person(1));
  expect(accepted.status).toBe(303);
  expect(accepted.headers.get("location")).toBe("/?welcome");
  const refused = await post({ ...person(2), email: '"><script>' });
  expect(refused.status).toBe(400);
  const page = await refused.text();
  expect(page).toContain("This is not an e-mail address.");
  expect(page).toContain('value="User 2"');
  expect(page).not.toContain('<script>"');
  expect(page).toContain("&quot;&gt;&lt;script&gt;");
  expect((await post(person(1))).status).toBe(409);
});

test("[N1] the row and the message commit together: when one fails, the other is not there", async () => {
  await using service = await startTestService();
  const { database, sluice } = service;
  const tooLong = { ...person(1), name: "x".repeat(101) };
  expect(await signUp(database, sluice, tooLong).catch((error: unknown) => error)).toBeInstanceOf(Error);
  expect(await messagesAndUsers(service)).toEqual({ messages: 0, users: 0 });

  // The table takes this address, the topic's schema does not.
  const notAnAddress = { ...person(1), email: "not an address" };
  expect(await signUp(database, sluice, notAnAddress).catch((error: unknown) => error)).toMatchObject({
    code: "INVALID_VALUE",
  });
  expect(await messagesAndUsers(service)).toEqual({ messages: 0, users: 0 });

  await signUp(database, sluice, person(1));
  await eventually("the message is in the log", async () => (await messagesAndUsers(service)).messages === 1);
  expect(await messagesAndUsers(service)).toEqual({ messages: 1, users: 1 });
});

test("an address signs up once, also when it is sent many times at once and in other letters", async () => {
  await using service = await startTestService();
  const responses = await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      service.post({ ...person(1), email: index % 2 === 0 ? "Ada@People.example" : "ada@people.example" }),
    ),
  );
  expect(responses.map((response) => response.status).toSorted()).toEqual([201, ...Array(9).fill(409)]);
  await service.mailCatcher?.inbox.until((mails) => mails.length > 0, deadlineMs);
  await eventually("the message is settled", async () =>
    [...(await lags(service.database, "signups")).values()].every((lag) => lag === 0),
  );
  expect(await messagesAndUsers(service)).toEqual({ messages: 1, users: 1 });
  expect(service.mailCatcher?.inbox.items.map((mail) => mail.recipient)).toEqual(["ada@people.example"]);
});

test("a POST from another site's page is refused, whatever its type", async () => {
  await using service = await startTestService();
  const crossOrigin = await service.post(person(1), { origin: "https://evil.example" });
  expect(crossOrigin.status).toBe(403);
  const form = await fetch(`${service.url}/signup`, {
    method: "POST",
    headers: { origin: "null" },
    body: new URLSearchParams(person(1)),
  });
  expect(form.status).toBe(403);
  expect((await service.post(person(1), { origin: service.url })).status).toBe(201);
  expect((await messagesAndUsers(service)).users).toBe(1);
});

test("what a user wrote is text on every page", async () => {
  await using service = await startTestService();
  const name = "<script>alert('hi')</script>&\"";
  expect((await service.post({ ...person(1), name })).status).toBe(201);
  await service.mailCatcher?.inbox.until((mails) => mails.length === 1, deadlineMs);
  await service.smsStandIn?.inbox.until((texts) => texts.length === 1, deadlineMs);
  for (const path of ["/mails", "/sms"]) {
    const page = await (await fetch(`${service.url}${path}`)).text();
    expect(page).toContain("&lt;script&gt;alert(");
    expect(page).not.toContain("<script>alert");
  }
  expect((await fetch(`${service.url}/health`)).status).toBe(200);
});
