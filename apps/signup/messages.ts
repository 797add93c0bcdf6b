import type { Mail, Sms } from "./providers/provider.ts";

/** Whom to welcome. */
export interface Recipient {
  readonly name: string;
  readonly email: string;
  readonly phone: string;
}

/** The mail that a new user gets. */
export function welcomeMailFor(user: Recipient, idempotencyKey: string): Mail {
  return {
    toName: user.name,
    toAddress: user.email,
    subject: `Welcome, ${user.name}`,
    text: `Hello ${user.name},\n\nyour account is ready. A text message goes to ${user.phone} as well.\n`,
    idempotencyKey,
  };
}

/** The text message that a new user gets. */
export function smsFor(user: Recipient, idempotencyKey: string): Sms {
  return { to: user.phone, text: `Welcome, ${user.name}! Your account is ready.`, idempotencyKey };
}
