import type { Mail, Sms } from "@sluice/app-kit/outside";
import type { SignupForm } from "./signup.ts";

/** The mail that a new user gets. */
export function welcomeMailFor({ name, email, phone }: SignupForm, idempotencyKey: string): Mail {
  const text = `Hello ${name},\n\nyour account is ready. A text message goes to ${phone} as well.\n`;
  return { toName: name, toAddress: email, subject: `Welcome, ${name}`, text, idempotencyKey };
}

/** The text message that a new user gets. */
export function smsFor({ name, phone }: SignupForm, idempotencyKey: string): Sms {
  return { to: phone, text: `Welcome, ${name}! Your account is ready.`, idempotencyKey };
}
