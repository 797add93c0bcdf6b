import { type Context, Hono } from "hono";
import type { Sluice } from "sluice";
import type { Database, users } from "../database.ts";
import { smsFor, welcomeMailFor } from "../messages.ts";
import type { Mail, Send, Sms } from "../providers/provider.ts";
import { insertUser, signUp, signupForm } from "../signup.ts";

/** The pause of every simulated step. */
export const stepMs = 50;

/** What the compared ways work with. */
export interface ComparisonParts {
  readonly database: Database;
  readonly sluice: Pick<Sluice, "send">;
  readonly sendMail: Send<Mail>;
  readonly sendSms: Send<Sms>;
}

/**
 * The same sign-up three ways: `/serial` writes the row, sends the mail, sends the SMS; `/parallel` writes the row, then
 * sends both at once; `/queued` writes the row and a message in one transaction. With `?row=slow` the write of the row
 * takes {@link stepMs} longer in all three, inside the database.
 *
 * All use the same pools and the same providers, so what differs is what the request waits for.
 */
export function comparisonRoutes(parts: ComparisonParts): Hono {
  const routes = new Hono();
  routes.post("/serial", (c) =>
    answer(c, async (form, rowStepMs) => {
      const user = await insertUser(parts.database.orm, form, "serial", rowStepMs);
      if (user === undefined) return undefined;
      await parts.sendMail(welcomeMailFor(user, `${user.id}.email`), c.req.raw.signal);
      await parts.sendSms(smsFor(user, `${user.id}.sms`), c.req.raw.signal);
      return user;
    }),
  );
  routes.post("/parallel", (c) =>
    answer(c, async (form, rowStepMs) => {
      const user = await insertUser(parts.database.orm, form, "parallel", rowStepMs);
      if (user === undefined) return undefined;
      await Promise.all([
        parts.sendMail(welcomeMailFor(user, `${user.id}.email`), c.req.raw.signal),
        parts.sendSms(smsFor(user, `${user.id}.sms`), c.req.raw.signal),
      ]);
      return user;
    }),
  );
  routes.post("/queued", (c) => answer(c, (form, rowStepMs) => signUp(parts.database, parts.sluice, form, rowStepMs)));
  return routes;
}

type Write = (
  form: ReturnType<typeof signupForm.parse>,
  rowStepMs: number,
) => Promise<typeof users.$inferSelect | undefined>;

async function answer(c: Context, write: Write): Promise<Response> {
  const form = signupForm.parse(await c.req.json());
  const user = await write(form, c.req.query("row") === "slow" ? stepMs : 0);
  return user === undefined ? c.json({ error: "taken" }, 409) : c.json({ userId: user.id }, 201);
}
