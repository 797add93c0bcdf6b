import type { Database } from "@sluice/app-kit";
import type { Providers } from "@sluice/app-kit/outside";
import { app, type Backoff, consumer } from "sluice";
import { deliverOnce } from "./delivery.ts";
import { smsFor, welcomeMailFor } from "./messages.ts";
import { vouchers } from "./tables.ts";
import { signups } from "./topics.ts";

/** What the consumers work with. After its attempts, a message waits in `sluice.dead_letters` until it is sent back. */
export interface ConsumerParts extends Pick<Providers, "sendMail" | "sendSms"> {
  readonly database: Database;
  readonly retry: { readonly attempts: number; readonly backoff: Backoff };
}

/** Two groups read the same topic, each at its own pace: when the SMS provider is down, mails still go out. */
export function signupApp({ database, sendMail, sendSms, retry }: ConsumerParts) {
  const options = { mode: "keyed", retry } as const;
  const email = consumer(signups, {
    ...options,
    group: "email",
    handler: (c) => deliverOnce(database, c, "email", (key) => sendMail(welcomeMailFor(c.value, key), c.signal)),
  });
  const sms = consumer(signups, {
    ...options,
    group: "sms",
    handler: (c) => deliverOnce(database, c, "sms", (key) => sendSms(smsFor(c.value, key), c.signal)),
  });
  return app({ name: "signup", topics: [signups], consumers: [email, sms], drain: "10s" });
}

/**
 * Who comes later: an app of its own that knows the topic and nothing else. It begins at the beginning of the topic, so
 * everybody who signed up before it existed gets a voucher, too: exactly one, for voucher and position commit together, and
 * the primary key makes a replay harmless.
 */
export function voucherApp() {
  const voucher = consumer(signups, {
    group: "voucher",
    mode: "keyed",
    start: "earliest",
    handler: async (c) => {
      const transaction = await c.tx();
      const code = `WELCOME-${crypto.randomUUID().slice(0, 8).toUpperCase()}`;
      await transaction.insert(vouchers).values({ userId: c.value.userId, code }).onConflictDoNothing();
    },
  });
  return app({ name: "voucher", consumers: [voucher], drain: "10s" });
}
