import { expect, test } from "bun:test";
import { join } from "node:path";
import { startMailCatcher, startSmsStandIn } from "@sluice/app-kit/outside";
import { deadlineMs, eventually, startProcess } from "@sluice/app-kit/testing";
import { testDatabase } from "@sluice/testkit";
import PostalMime from "postal-mime";
import postgres from "postgres";
import { person } from "./testing.ts";

const main = join(import.meta.dirname, "main.ts");

test("a process that is killed while it sends loses nothing, and what comes twice can be recognised", async () => {
  await using database = await testDatabase();
  await using parts = new AsyncDisposableStack();
  const catcher = await startMailCatcher({ stepMs: 50 });
  parts.defer(() => catcher.close());
  const standIn = startSmsStandIn({ stepMs: 50 });
  parts.defer(() => standIn.close());
  const start = () =>
    parts.use(
      startProcess(main, [], {
        PORT: "0",
        DATABASE_URL: database.url,
        SMTP_URL: catcher.url,
        TWILIO_ACCOUNT_SID: standIn.account.accountSid,
        TWILIO_AUTH_TOKEN: standIn.account.authToken,
        TWILIO_FROM: standIn.account.from,
        TWILIO_BASE_URL: standIn.account.baseUrl,
      }),
    );

  const people = Array.from({ length: 60 }, (_, index) => person(index));
  const first = start();
  const url = await first.url;
  const responses = await Promise.all(
    people.map((somebody) =>
      fetch(`${url}/signup`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(somebody),
      }),
    ),
  );
  expect(new Set(responses.map((response) => response.status))).toEqual(new Set([201]));
  expect(await catcher.inbox.until((mails) => mails.length >= 10, deadlineMs)).toBe(true);
  first.kill("SIGKILL");
  await first.exited;
  expect(new Set(catcher.inbox.items.map((mail) => mail.recipient)).size).toBeLessThan(people.length);

  const second = start();
  const sql = postgres(database.url, { max: 1 });
  parts.defer(() => sql.end());
  await eventually("everything is settled", async () => {
    const [row] = await sql<{ count: number }[]>`select count(*)::int as count from signup.deliveries`;
    return row?.count === people.length * 2;
  });
  second.kill("SIGTERM");
  expect(await second.exited).toBe(0);

  const mails = await Promise.all(catcher.inbox.items.map((mail) => PostalMime.parse(mail.raw)));
  expect(new Set(catcher.inbox.items.map((mail) => mail.recipient)).size).toBe(people.length);
  expect(new Set(mails.map((mail) => mail.messageId)).size).toBe(people.length);
  expect(new Set(standIn.inbox.items.map((sms) => sms.to)).size).toBe(people.length);
  expect(new Set(standIn.inbox.items.map((sms) => sms.idempotencyKey)).size).toBe(people.length);
}, 60_000);
