import { Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { bodyLimit } from "hono/body-limit";
import { z } from "zod";
import { Inbox } from "./inbox.ts";
import type { SmsAccount } from "./sms-provider.ts";

/** A text message that the stand-in took. */
export interface ReceivedSms {
  readonly to: string;
  readonly from: string;
  readonly text: string;
  readonly receivedAt: Date;
  readonly idempotencyKey: string | undefined;
}

/** Stands in for an SMS provider, on this machine: the same HTTP API, but no telephone ever rings. */
export interface SmsStandIn {
  /** What the adapter needs in order to send to it. */
  readonly account: SmsAccount;
  readonly inbox: Inbox<ReceivedSms>;
  /** While it is down, it answers 503 to everything and takes nothing. It begins up. */
  setDown(isDown: boolean): void;
  close(): Promise<void>;
}

export interface SmsStandInOptions {
  /** How long it takes before it answers, as a provider out on the internet would. */
  readonly stepMs: number;
  /** Default: any free port. */
  readonly port?: number;
}

const form = z.object({
  To: z.string().regex(/^\+[1-9]\d{7,14}$/),
  From: z.string().min(1),
  Body: z.string().min(1).max(1_600),
});

/**
 * Answers `POST /2010-04-01/Accounts/{sid}/Messages.json` on loopback as Twilio does: 201 with a `sid`, 400 for a number
 * that cannot be, 401 without the right password.
 *
 * Fails with the system's error when the port is taken.
 */
export function startSmsStandIn(options: SmsStandInOptions): SmsStandIn {
  const inbox = new Inbox<ReceivedSms>();
  const credentials = { accountSid: "AC-stand-in", authToken: crypto.randomUUID() };
  const routes = new Hono();
  routes.use(bodyLimit({ maxSize: 16 * 1024 }));
  let isDown = false;
  routes.use(async (c, next) => (isDown ? c.json({ message: "out of order", status: 503 }, 503) : next()));
  routes.use(basicAuth({ username: credentials.accountSid, password: credentials.authToken }));
  routes.post(`/2010-04-01/Accounts/${credentials.accountSid}/Messages.json`, async (c) => {
    const parsed = form.safeParse(await c.req.parseBody());
    if (!parsed.success) return c.json({ code: 21211, message: "invalid message", status: 400 }, 400);
    await Bun.sleep(options.stepMs);
    const { To: to, From: from, Body: text } = parsed.data;
    inbox.add({ to, from, text, receivedAt: new Date(), idempotencyKey: c.req.header("idempotency-key") });
    return c.json({ sid: `SM${crypto.randomUUID().replaceAll("-", "")}`, status: "queued", to, from }, 201);
  });
  const server = Bun.serve({ port: options.port ?? 0, hostname: "127.0.0.1", fetch: routes.fetch });
  return {
    account: { baseUrl: `http://127.0.0.1:${server.port}`, ...credentials, from: "+15005550006" },
    inbox,
    setDown: (wanted) => {
      isDown = wanted;
    },
    close: () => server.stop(true),
  };
}
