import { z } from "zod";
import { optional } from "../options.ts";
import { type MailCatcher, startMailCatcher } from "./mail-catcher.ts";
import { smtpMailer } from "./mailer.ts";
import type { Mail, Send, Sms } from "./provider.ts";
import { type SmsAccount, twilioSms } from "./sms-provider.ts";
import { type SmsStandIn, startSmsStandIn } from "./sms-stand-in.ts";

/** Who sends mails and text messages, from the environment. Without it, stand-ins on this machine do. */
export const providersEnvironment = z
  .object({
    SMTP_URL: optional(z.string().regex(/^smtps?:\/\/./, "must begin with smtp:// or smtps://")),
    MAIL_FROM: optional(z.string()),
    TWILIO_ACCOUNT_SID: optional(z.string()),
    TWILIO_AUTH_TOKEN: optional(z.string()),
    TWILIO_FROM: optional(z.string()),
    TWILIO_BASE_URL: optional(z.url("must be a URL")),
  })
  .refine(
    (env) => [0, 3].includes([env.TWILIO_ACCOUNT_SID, env.TWILIO_AUTH_TOKEN, env.TWILIO_FROM].filter(Boolean).length),
    {
      path: ["TWILIO_ACCOUNT_SID"],
      message: "TWILIO_AUTH_TOKEN and TWILIO_FROM belong together: set all three or none",
    },
  );

/** What {@link providersEnvironment} gives. */
export type ProvidersEnvironment = z.infer<typeof providersEnvironment>;

/** The account at the SMS provider, if there is one. */
export function smsAccountOf(env: ProvidersEnvironment): SmsAccount | undefined {
  const { TWILIO_ACCOUNT_SID: accountSid, TWILIO_AUTH_TOKEN: authToken, TWILIO_FROM: from } = env;
  if (accountSid === undefined || authToken === undefined || from === undefined) return undefined;
  return { baseUrl: env.TWILIO_BASE_URL ?? "https://api.twilio.com", accountSid, authToken, from };
}

/** The way out for mails and text messages. */
export interface Providers {
  readonly sendMail: Send<Mail>;
  readonly sendSms: Send<Sms>;
  /** Undefined where mails go out to a real server. */
  readonly mailCatcher: MailCatcher | undefined;
  /** Undefined where text messages go out to a real provider. */
  readonly smsStandIn: SmsStandIn | undefined;
  close(): Promise<void>;
}

/** How {@link openProviders} chooses. */
export interface ProvidersOptions {
  /** The sender of the mails where MAIL_FROM does not say. */
  readonly mailFrom: string;
  /** How long a stand-in takes for one message, as something out on the internet would. */
  readonly stepMs: number;
  /** Stand-ins for both, whatever the environment says. */
  readonly standInsOnly: boolean;
}

/** Opens the real ones that the environment names, and stand-ins for the others. */
export async function openProviders(env: ProvidersEnvironment, options: ProvidersOptions): Promise<Providers> {
  const { stepMs, standInsOnly } = options;
  const smtpUrl = standInsOnly ? undefined : env.SMTP_URL;
  const account = standInsOnly ? undefined : smsAccountOf(env);
  await using starting = new AsyncDisposableStack();
  const mail = smtpUrl === undefined ? await startMailCatcher({ stepMs }) : { url: smtpUrl };
  const mailCatcher = "inbox" in mail ? mail : undefined;
  starting.defer(() => mailCatcher?.close());
  const sms = account === undefined ? startSmsStandIn({ stepMs }) : { account };
  const smsStandIn = "inbox" in sms ? sms : undefined;
  starting.defer(() => smsStandIn?.close());
  const mailer = smtpMailer(mail.url, env.MAIL_FROM ?? options.mailFrom);
  starting.defer(() => mailer.close());
  const parts = starting.move();
  const sendSms = twilioSms(sms.account);
  return { sendMail: mailer.send, sendSms, mailCatcher, smsStandIn, close: () => parts.disposeAsync() };
}
