import { arrivals, caughtUp, type Database, type Person, type Switchable } from "@sluice/app-kit";
import type { MailCatcher, Providers, SmsStandIn } from "@sluice/app-kit/outside";
import type { Sluice } from "sluice";

/** What the scenarios work with: the running service, and the stand-ins for what is outside. */
export interface ScenarioParts extends Pick<Providers, "sendMail" | "sendSms"> {
  readonly database: Database;
  readonly sluice: Sluice;
  readonly mailCatcher: MailCatcher;
  readonly smsStandIn: SmsStandIn;
  readonly vouchers: Switchable;
  /** Of the service itself. */
  readonly url: () => string;
}

/** What the mail server and the SMS provider took for these people so far. */
export function postOf({ mailCatcher, smsStandIn }: ScenarioParts, people: readonly Person[]) {
  const mailed = mailCatcher.inbox.items.map((mail) => mail.recipient);
  const texted = smsStandIn.inbox.items.map((text) => text.to);
  const [emails, phones] = [people.map(({ email }) => email), people.map(({ phone }) => phone)];
  return { mails: arrivals(emails, mailed), texts: arrivals(phones, texted) };
}

/** Waits until everybody has both and the groups have finished; after that, nothing can come twice any more. */
export function allPosted(parts: ScenarioParts, people: readonly Person[], signal: AbortSignal): Promise<boolean> {
  const holds = () => Object.values(postOf(parts, people)).every(({ missing }) => missing.length === 0);
  return caughtUp(parts.database, "signups", ["email", "sms"], { deadlineMs: 40_000, signal, holds });
}
