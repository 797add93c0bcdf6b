import { type Backoff, consumer } from "sluice";
import type { Activity } from "./activity.ts";
import type { Database } from "./database.ts";
import { deliverOnce } from "./delivery.ts";
import { smsFor, welcomeMailFor } from "./messages.ts";
import type { Mail, Send, Sms } from "./providers/provider.ts";
import { signups } from "./topics.ts";

/** What the consumers work with. */
export interface ConsumerParts {
  readonly database: Database;
  readonly activity: Activity;
  readonly sendMail: Send<Mail>;
  readonly sendSms: Send<Sms>;
  /** Between attempts. */
  readonly backoff: Backoff;
}

/**
 * Two groups read the same topic, each at its own pace: when the mail server is down, text messages still go out.
 *
 * Eight attempts, then the message waits in `sluice.dead_letters` until somebody sends it back.
 */
export function signupConsumers(parts: ConsumerParts) {
  const { database, activity } = parts;
  const retry = { attempts: 8, backoff: parts.backoff };
  const email = consumer(signups, {
    group: "email",
    mode: "keyed",
    retry,
    handler: (c) =>
      deliverOnce(database, activity, c, "email", (key) => parts.sendMail(welcomeMailFor(c.value, key), c.signal)),
  });
  const sms = consumer(signups, {
    group: "sms",
    mode: "keyed",
    retry,
    handler: (c) => deliverOnce(database, activity, c, "sms", (key) => parts.sendSms(smsFor(c.value, key), c.signal)),
  });
  return [email, sms];
}
