import { app, type Backoff, connect, exponential, type Logger, type Sluice, SluiceError } from "sluice";
import { type Activity, newActivity } from "./activity.ts";
import { comparisonRoutes } from "./comparison/routes.ts";
import { signupConsumers } from "./consumers.ts";
import { type Database, openDatabase } from "./database.ts";
import { listen } from "./listen.ts";
import { type MailCatcher, startMailCatcher } from "./providers/mail-catcher.ts";
import { smtpMailer } from "./providers/mailer.ts";
import { type SmsAccount, twilioSms } from "./providers/sms-provider.ts";
import { type SmsStandIn, startSmsStandIn } from "./providers/sms-stand-in.ts";
import { signupRoutes } from "./routes.ts";
import { signups } from "./topics.ts";

/** What the service is started with. */
export interface ServiceOptions {
  readonly databaseUrl: string;
  /** The address to listen on; default loopback. */
  readonly host?: string;
  /** Undefined: 3000, or any free port where that is taken. */
  readonly port?: number | undefined;
  /** Undefined: a mail catcher is started. */
  readonly smtpUrl?: string | undefined;
  /** The sender of the mails. */
  readonly mailFrom: string;
  /** Undefined: a stand-in is started. */
  readonly smsAccount?: SmsAccount | undefined;
  /** How long the catcher and the stand-in take for one message. */
  readonly stepMs: number;
  /** Whether `POST /compare/…` exists. Default false. */
  readonly isComparing?: boolean;
  /** Between the attempts of a consumer. Default: 500 ms doubling to a minute. */
  readonly backoff?: Backoff;
  readonly logger: Logger;
}

/** The running service. */
export interface Service {
  readonly url: string;
  readonly database: Database;
  readonly sluice: Sluice;
  readonly activity: Activity;
  readonly mailCatcher: MailCatcher | undefined;
  readonly smsStandIn: SmsStandIn | undefined;
  /**
   * Stops accepting, lets requests and handlers finish within ten seconds, closes everything. Fails with DRAIN_TIMEOUT,
   * after all is closed, when a handler did not finish.
   */
  close(): Promise<void>;
}

/**
 * Starts everything, in the order in which the parts need each other; {@link Service.close} goes the other way.
 *
 * Fails with what the failing part says, after closing the parts before it.
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { logger } = options;
  await using starting = new AsyncDisposableStack();
  // Sluice goes first: it brings its schema up to date, and says in one sentence what is wrong with a database.
  await (await connect({ url: options.databaseUrl, logger })).close();
  const database = await openDatabase(options.databaseUrl);
  starting.defer(() => database.close());

  const { mailCatcher, smtpUrl } = await mailServer(options);
  starting.defer(() => mailCatcher?.close());
  const mailer = smtpMailer(smtpUrl, options.mailFrom);
  starting.defer(() => mailer.close());
  const { smsStandIn, account } = smsProvider(options);
  starting.defer(() => smsStandIn?.close());
  const sending = { sendMail: mailer.send, sendSms: twilioSms(account) };

  const activity = newActivity();
  const backoff = options.backoff ?? exponential("500ms", "1m");
  const consumers = signupConsumers({ database, activity, backoff, ...sending });
  const definition = app({ name: "signup", topics: [signups], consumers, drain: "10s" });
  const running = await definition.start({ url: options.databaseUrl, logger });
  starting.defer(async () => {
    if (!(await running.close()))
      throw new SluiceError("DRAIN_TIMEOUT", "handlers did not finish; they will run again");
  });

  const { sluice } = running;
  const routes = signupRoutes({ database, sluice, activity, logger, mailCatcher, smsStandIn });
  if (options.isComparing === true) {
    routes.route("/compare", comparisonRoutes({ database, sluice, ...sending }));
  }
  const web = listen(options.host ?? "127.0.0.1", options.port, routes.fetch);
  starting.defer(() => web.close());

  const parts = starting.move();
  return { url: web.url, database, sluice, activity, mailCatcher, smsStandIn, close: () => parts.disposeAsync() };
}

async function mailServer(options: ServiceOptions) {
  if (options.smtpUrl !== undefined) return { mailCatcher: undefined, smtpUrl: options.smtpUrl };
  const mailCatcher = await startMailCatcher({ stepMs: options.stepMs });
  return { mailCatcher, smtpUrl: mailCatcher.url };
}

function smsProvider(options: ServiceOptions) {
  if (options.smsAccount !== undefined) return { smsStandIn: undefined, account: options.smsAccount };
  const smsStandIn = startSmsStandIn({ stepMs: options.stepMs });
  return { smsStandIn, account: smsStandIn.account };
}
