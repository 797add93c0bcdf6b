import { expect, test } from "bun:test";
import PostalMime from "postal-mime";
import { startMailCatcher } from "./mail-catcher.ts";
import { smtpMailer } from "./mailer.ts";
import { type Mail, RefusedByProvider } from "./provider.ts";

const mail: Mail = {
  toName: "Zoë, the <First>",
  toAddress: "zoe@example.org",
  subject: "Welcome, Zoë ✓",
  text: "Hello\n.\nand a line of one dot above\n",
  idempotencyKey: "3f/7 a.email",
};

test("a mail goes over SMTP and comes out as it was, with a Message-ID that only depends on its key", async () => {
  const catcher = await startMailCatcher({ stepMs: 0 });
  const mailer = smtpMailer(catcher.url, "Sender <hello@sender.example>");
  try {
    const references = [];
    for (let attempt = 0; attempt < 2; attempt++)
      references.push(await mailer.send(mail, new AbortController().signal));
    expect(references[0]).toBe(references[1] as string);
    expect(catcher.inbox.items.map((caught) => caught.recipient)).toEqual(["zoe@example.org", "zoe@example.org"]);
    const parsed = await PostalMime.parse(catcher.inbox.items[0]?.raw ?? "");
    expect(parsed.subject).toBe(mail.subject);
    expect(parsed.text?.trimEnd()).toBe(mail.text.trimEnd());
    expect(parsed.to?.[0]).toMatchObject({ name: mail.toName, address: mail.toAddress });
    expect(parsed.messageId).toBe("<3f%2F7%20a.email@sender.example>");
  } finally {
    mailer.close();
    await catcher.close();
  }
});

test("many mails share the pool's connections", async () => {
  const catcher = await startMailCatcher({ stepMs: 0 });
  const mailer = smtpMailer(catcher.url, "hello@sender.example");
  try {
    const never = new AbortController().signal;
    const recipients = Array.from({ length: 200 }, (_, index) => `user-${index}@example.org`);
    await Promise.all(
      recipients.map((toAddress) => mailer.send({ ...mail, toAddress, idempotencyKey: toAddress }, never)),
    );
    expect(catcher.inbox.items.map((caught) => caught.recipient).toSorted()).toEqual(recipients.toSorted());
  } finally {
    mailer.close();
    await catcher.close();
  }
});

test("a server that refuses this mail is told apart from a server that is not there", async () => {
  const catcher = await startMailCatcher({ stepMs: 0 });
  const mailer = smtpMailer(catcher.url, "hello@sender.example");
  const never = new AbortController().signal;
  try {
    const tooLarge = mailer.send({ ...mail, text: "x".repeat(300 * 1024) }, never);
    expect(await tooLarge.catch((error: unknown) => error)).toBeInstanceOf(RefusedByProvider);
    await catcher.close();
    const unreachable = await mailer.send(mail, never).catch((error: unknown) => error);
    expect(unreachable).toBeInstanceOf(Error);
    expect(unreachable).not.toBeInstanceOf(RefusedByProvider);
  } finally {
    mailer.close();
  }
});

test("an aborted signal ends the wait for a slow server", async () => {
  const catcher = await startMailCatcher({ stepMs: 5_000 });
  const mailer = smtpMailer(catcher.url, "hello@sender.example");
  try {
    const stop = new AbortController();
    const sending = mailer.send(mail, stop.signal).catch((error: unknown) => error);
    stop.abort(new Error("stopping"));
    expect(await sending).not.toBeInstanceOf(RefusedByProvider);
    expect(catcher.inbox.items).toHaveLength(0);
  } finally {
    mailer.close();
    await catcher.close();
  }
}, 4_000);
