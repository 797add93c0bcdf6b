export { Capacity } from "./capacity.ts";
export { Inbox } from "./inbox.ts";
export { type CaughtMail, type MailCatcher, startMailCatcher } from "./mail-catcher.ts";
export { type Mail, type Outcome, RefusedByProvider, type Send, type Sms, settle } from "./provider.ts";
export {
  openProviders,
  type Providers,
  type ProvidersEnvironment,
  type ProvidersOptions,
  providersEnvironment,
} from "./providers.ts";
export type { SmsAccount } from "./sms-provider.ts";
export { type ReceivedSms, type SmsStandIn, startSmsStandIn } from "./sms-stand-in.ts";
