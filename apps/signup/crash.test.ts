import { expect, test } from "bun:test";
import { join } from "node:path";
import { testDatabase } from "@sluice/testkit";
import PostalMime from "postal-mime";
import postgres from "postgres";
import { startMailCatcher } from "./providers/mail-catcher.ts";
import { startSmsStandIn } from "./providers/sms-stand-in.ts";
import { deadlineMs, eventually, person } from "./testing.ts";

const main = join(import.meta.dirname, "main.ts");

test("a process that is killed while it sends loses nothing, and what comes twice can be recognised", async () => {
  await using database = await testDatabase();
  await using parts = new AsyncDisposableStack();
  const catcher = await startMailCatcher({ stepMs: 50 });
  parts.defer(() => catcher.close());
  const standIn = startSmsStandIn({ stepMs: 50 });
  parts.defer(() => standIn.close());
  const start = async () => {
    const child = Bun.spawn([process.execPath, main], {
      env: {
        ...process.env,
        PORT: "",
        DATABASE_URL: database.url,
        SMTP_URL: catcher.url,
        TWILIO_ACCOUNT_SID: standIn.account.accountSid,
        TWILIO_AUTH_TOKEN: standIn.account.authToken,
        TWILIO_FROM: standIn.account.from,
        TWILIO_BASE_URL: standIn.account.baseUrl,
      },
      stdout: "pipe",
      stderr: "ignore",
    });
    parts.defer(async () => {
      child.kill("SIGKILL");
      await child.exited;
    });
    const url = Promise.withResolvers<string>();
    const reading = (async () => {
      let text = "";
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const found = /sign up\s+(http:\S+)\/\n/.exec(text)?.[1];
        if (found !== undefined) url.resolve(found);
      }
    })();
    parts.defer(() => reading);
    return { child, url: await url.promise };
  };

  const people = Array.from({ length: 60 }, (_, index) => person(index));
  const first = await start();
  const responses = await Promise.all(
    people.map((somebody) =>
      fetch(`${first.url}/signup`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(somebody),
      }),
    ),
  );
  expect(new Set(responses.map((response) => response.status))).toEqual(new Set([201]));
  expect(await catcher.inbox.until((mails) => mails.length >= 10, deadlineMs)).toBe(true);
  first.child.kill("SIGKILL");
  await first.child.exited;
  expect(new Set(catcher.inbox.items.map((mail) => mail.recipient)).size).toBeLessThan(people.length);

  const second = await start();
  const sql = postgres(database.url, { max: 1 });
  parts.defer(() => sql.end());
  await eventually("everything is settled", async () => {
    const [row] = await sql<{ count: number }[]>`select count(*)::int as count from signup.deliveries`;
    return row?.count === people.length * 2;
  });
  second.child.kill("SIGTERM");
  expect(await second.child.exited).toBe(0);

  const mails = await Promise.all(catcher.inbox.items.map((mail) => PostalMime.parse(mail.raw)));
  expect(new Set(catcher.inbox.items.map((mail) => mail.recipient)).size).toBe(people.length);
  expect(new Set(mails.map((mail) => mail.messageId)).size).toBe(people.length);
  expect(new Set(standIn.inbox.items.map((sms) => sms.to)).size).toBe(people.length);
  expect(new Set(standIn.inbox.items.map((sms) => sms.idempotencyKey)).size).toBe(people.length);
}, 60_000);
