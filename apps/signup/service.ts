import {
  drain,
  type Frame,
  type MainContext,
  openFrame,
  type RunningApp,
  type Switchable,
  switchable,
} from "@sluice/app-kit";
import { openProviders, type Providers, type ProvidersEnvironment } from "@sluice/app-kit/outside";
import { exponential, type Sluice } from "sluice";
import { signupApp, voucherApp } from "./consumers.ts";
import { links, signupPages } from "./page/pages.ts";
import { comparison } from "./scenarios/comparison.ts";
import { latecomer } from "./scenarios/latecomer.ts";
import { outage } from "./scenarios/outage.ts";
import { signupRoute } from "./signup.ts";

/** The running service. */
export interface SignupService extends RunningApp {
  readonly frame: Frame;
  readonly sluice: Sluice;
  readonly providers: Providers;
  /** The third group, which may come and go while the others run. */
  readonly vouchers: Switchable;
}

/**
 * Starts everything, in the order in which the parts need each other; closing goes the other way, and gives handlers ten
 * seconds. Fails with what the failing part says, after closing the parts before it.
 */
export async function startSignup(context: MainContext<ProvidersEnvironment>): Promise<SignupService> {
  const { databaseUrl: url, logger } = context;
  await using starting = new AsyncDisposableStack();
  const schema = new URL("./schema.sql", import.meta.url);
  const frame = await openFrame({ ...context, name: "signup", schema, topics: ["signups"], brand: "sign-up", links });
  starting.defer(() => frame.close());

  const mailFrom = "Sluice sign-up <welcome@signup.example>";
  // The scenarios send hundreds of mails to people who do not exist: never to a real provider.
  const providers = await openProviders(context.environment, { mailFrom, stepMs: 50, standInsOnly: context.isOnce });
  starting.defer(() => providers.close());
  const { mailCatcher, smsStandIn } = providers;
  const isSafe = mailCatcher !== undefined && smsStandIn !== undefined;
  // With stand-ins, an outage is there to be watched; a real one lasts longer than seconds.
  const retry = isSafe
    ? { attempts: 5, backoff: exponential("400ms", "10s") }
    : { attempts: 10, backoff: exponential("1s", "5m") };

  const running = await signupApp({ ...providers, database: frame.database, retry }).start({ url, logger });
  starting.defer(() => drain(running));
  const { sluice } = running;
  const vouchers = switchable(voucherApp(), { url, logger });
  starting.defer(() => vouchers.stop());
  if ((await sluice.groups.list()).some(({ group }) => group === "voucher")) await vouchers.start();

  signupPages(frame, providers);
  signupRoute(frame, sluice);
  const parts = { ...providers, database: frame.database, sluice, vouchers, url: () => listening.url };
  const listening = frame.listen({
    ...context,
    scenarios: isSafe ? [comparison, outage, latecomer].map((make) => make({ ...parts, mailCatcher, smsStandIn })) : [],
    refusal: context.refusal ?? (isSafe ? undefined : "scenarios need stand-ins: messages would go out to real people"),
  });
  starting.defer(() => listening.close());

  const all = starting.move();
  const [mails, texts] = [`${listening.url}/mails`, `${listening.url}/sms`];
  const notes = [
    `mails           ${mailCatcher === undefined ? "go out over SMTP_URL" : mails}`,
    `text messages   ${smsStandIn === undefined ? "go out through the provider" : `${texts}  (a stand-in: no telephone rings)`}`,
  ];
  const liveLine = () => frame.picture.line();
  return { ...listening, frame, sluice, providers, vouchers, notes, liveLine, close: () => all.disposeAsync() };
}
