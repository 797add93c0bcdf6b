import { inArray } from "drizzle-orm";
import { users } from "../database.ts";
import { lagByGroup } from "../lag.ts";
import type { Inbox } from "../providers/inbox.ts";
import type { Service } from "../service.ts";
import type { Crowd } from "./load.ts";

/** What arrived in one channel, against what had to. */
export interface ChannelCheck {
  readonly expected: number;
  readonly exactlyOnce: number;
  readonly missing: readonly string[];
  readonly doubled: readonly string[];
  /** Recipients who never signed up. */
  readonly strangers: readonly string[];
  /** From earlier runs on the same data: their backlog, delivered now. */
  readonly earlier: number;
}

/** Both channels, and the queue itself. */
export interface ArrivalCheck {
  readonly passed: boolean;
  readonly email: ChannelCheck;
  readonly sms: ChannelCheck;
  /** Messages of this run in the log. */
  readonly messages: number;
  /** Users of this run who came through the queue. */
  readonly queued: number;
  /** Whether both groups had committed all of it in time. */
  readonly isCaughtUp: boolean;
}

/**
 * Waits until everybody has something in both inboxes and both groups have committed everything, at most `deadlineMs`;
 * after that no duplicate can follow any more, and what is there is compared with the crowd.
 */
export async function checkArrivals(service: Service, crowd: Crowd, deadlineMs: number): Promise<ArrivalCheck> {
  const { mailCatcher, smsStandIn, database } = service;
  if (mailCatcher === undefined || smsStandIn === undefined) {
    throw new Error("arrivals can be checked only where the mail catcher and the SMS stand-in run");
  }
  const endsAt = performance.now() + deadlineMs;
  const [emails, phones] = [crowd.people.map((person) => person.email), crowd.people.map((person) => person.phone)];
  await Promise.all([
    everybodyIn(mailCatcher.inbox, (mail) => mail.recipient, emails, deadlineMs),
    everybodyIn(smsStandIn.inbox, (text) => text.to, phones, deadlineMs),
  ]);
  const isCaughtUp = await caughtUp(service, endsAt);

  const mailed = mailCatcher.inbox.items.map((mail) => mail.recipient);
  const texted = smsStandIn.inbox.items.map((text) => text.to);
  const [email, sms] = await Promise.all([
    checkChannel(emails, mailed, (others) =>
      database.orm.select({ known: users.email }).from(users).where(inArray(users.email, others)),
    ),
    checkChannel(phones, texted, (others) =>
      database.orm.select({ known: users.phone }).from(users).where(inArray(users.phone, others)),
    ),
  ]);
  const [counts] = await database.sql<{ messages: number; queued: number }[]>`
    select (select count(*)::int from topics.signups where value->>'email' like ${`%@${crowd.run}.example`}) as messages,
           (select count(*)::int from signup.users where way = 'queued' and email like ${`%@${crowd.run}.example`}) as queued`;
  const { messages, queued } = counts ?? { messages: 0, queued: 0 };
  const isClean = (check: ChannelCheck) =>
    check.exactlyOnce === check.expected && check.doubled.length === 0 && check.strangers.length === 0;
  const passed = isClean(email) && isClean(sms) && isCaughtUp && messages === queued;
  return { passed, email, sms, messages, queued, isCaughtUp };
}

function everybodyIn<Item>(
  inbox: Inbox<Item>,
  recipientOf: (item: Item) => string,
  everybody: readonly string[],
  deadlineMs: number,
): Promise<boolean> {
  const wanted = new Set(everybody);
  // Counting first: to compare the sets at every arrival would take longer than the arrivals.
  return inbox.until(
    (items) => items.length >= wanted.size && wanted.isSubsetOf(new Set(items.map(recipientOf))),
    deadlineMs,
  );
}

async function caughtUp(service: Service, endsAt: number): Promise<boolean> {
  for (;;) {
    const lag = await lagByGroup(service.database);
    if (["email", "sms"].every((group) => lag.get(group) === 0)) return true;
    if (performance.now() >= endsAt) return false;
    await Bun.sleep(100);
  }
}

async function checkChannel(
  expected: readonly string[],
  arrived: readonly string[],
  findKnown: (recipients: string[]) => Promise<{ known: string }[]>,
): Promise<ChannelCheck> {
  const counts = new Map<string, number>(expected.map((recipient) => [recipient, 0]));
  const others = new Set<string>();
  for (const recipient of arrived) {
    const count = counts.get(recipient);
    if (count === undefined) others.add(recipient);
    else counts.set(recipient, count + 1);
  }
  const known = new Set((others.size === 0 ? [] : await findKnown([...others])).map((row) => row.known));
  const having = (holds: (count: number) => boolean) =>
    [...counts].filter(([, count]) => holds(count)).map(([recipient]) => recipient);
  return {
    expected: expected.length,
    exactlyOnce: having((count) => count === 1).length,
    missing: having((count) => count === 0),
    doubled: having((count) => count > 1),
    strangers: [...others].filter((recipient) => !known.has(recipient)),
    earlier: known.size,
  };
}
