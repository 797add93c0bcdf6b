import { Hono } from "hono";
import { smsFor, welcomeMailFor } from "../messages.ts";
import { insertUser, type SignupForm, signUp, signupForm } from "../signup.ts";
import type { ScenarioParts } from "./parts.ts";

/** The three ways, in the order in which they are compared, and what a request waits for. */
export const ways = {
  serial: "row, then mail, then SMS",
  parallel: "row, then mail and SMS at once",
  queued: "row and message, one commit",
} as const;

/** One of them. */
export type Way = keyof typeof ways;

/**
 * Serves the same sign-up three ways on a port of its own, for as long as a scenario runs: `POST /serial`, `/parallel`,
 * `/queued`, with `?row=slow` for a database that takes 50 ms longer to write the row. All use the same pools and the same
 * providers as the service, so what differs is what the request waits for.
 */
export function serveWays({ database, sluice, sendMail, sendSms }: ScenarioParts) {
  const within = (way: "serial" | "parallel") => async (form: SignupForm, rowStepMs: number, signal: AbortSignal) => {
    const user = await insertUser(database.orm, form, way, rowStepMs);
    if (user === undefined) return;
    const mail = sendMail(welcomeMailFor(user, `${user.id}.email`), signal);
    if (way === "serial") await mail;
    await Promise.all([mail, sendSms(smsFor(user, `${user.id}.sms`), signal)]);
  };
  const queued = (form: SignupForm, rowStepMs: number) => signUp(database, sluice, form, rowStepMs);
  const write = { serial: within("serial"), parallel: within("parallel"), queued };
  const routes = new Hono();
  for (const way of Object.keys(ways) as Way[]) {
    routes.post(`/${way}`, async (c) => {
      const form = signupForm.parse(await c.req.json());
      await write[way](form, c.req.query("row") === "slow" ? 50 : 0, c.req.raw.signal);
      return c.json({ way }, 201);
    });
  }
  // A provider that is down: what a user of the two other ways gets to see.
  routes.onError((_, c) => c.json({ error: "this did not work; please try again" }, 500));
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: routes.fetch });
  const at = (way: Way) => `http://127.0.0.1:${server.port}/${way}`;
  const addresses = { serial: at("serial"), parallel: at("parallel"), queued: at("queued") };
  return { addresses, close: () => server.stop(true) };
}
