import { readFileSync } from "node:fs";
import { desc, sql } from "drizzle-orm";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { secureHeaders } from "hono/secure-headers";
import type { Logger, Sluice } from "sluice";
import { z } from "zod";
import type { Activity } from "./activity.ts";
import { comparisons, type Database } from "./database.ts";
import { homePage } from "./page/home.ts";
import { mailsPage } from "./page/mails.ts";
import { reportPage } from "./page/report.ts";
import { smsPage } from "./page/sms.ts";
import type { MailCatcher } from "./providers/mail-catcher.ts";
import type { SmsStandIn } from "./providers/sms-stand-in.ts";
import { recentSignups } from "./recent.ts";
import { sameOriginOnly } from "./same-origin.ts";
import { signUp, signupForm } from "./signup.ts";

/** What the web side works with. */
export interface RouteParts {
  readonly database: Database;
  readonly sluice: Pick<Sluice, "send">;
  readonly activity: Activity;
  readonly logger: Logger;
  /** Undefined where mails go out to a real server. */
  readonly mailCatcher: MailCatcher | undefined;
  /** Undefined where text messages go out to a real provider. */
  readonly smsStandIn: SmsStandIn | undefined;
}

const style = readFileSync(new URL("./page/style.css", import.meta.url), "utf8");
const script = readFileSync(new URL("./page/live.js", import.meta.url), "utf8");

/** The pages and `POST /signup`. Answers never hold the text of an internal error. */
export function signupRoutes(parts: RouteParts): Hono {
  const { database, sluice, activity } = parts;
  const routes = new Hono();
  routes.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'self'"],
        imgSrc: ["data:"],
        frameAncestors: ["'none'"],
        formAction: ["'self'"],
      },
      // Another origin would be upgraded for ever, and this server speaks plain HTTP behind whatever ends TLS.
      strictTransportSecurity: false,
    }),
  );
  routes.use(sameOriginOnly);
  routes.use(bodyLimit({ maxSize: 16 * 1024, onError: (c) => c.json({ error: "the request is too large" }, 413) }));

  routes.get("/", (c) => c.html(homePage({ welcome: c.req.query("welcome") !== undefined })));
  routes.get("/style.css", (c) => c.body(style, 200, { "content-type": "text/css; charset=utf-8" }));
  routes.get("/live.js", (c) => c.body(script, 200, { "content-type": "text/javascript; charset=utf-8" }));
  routes.get("/recent", async (c) => c.json(await recentSignups(database), 200, { "cache-control": "no-store" }));
  routes.get("/mails", async (c) => c.html(await mailsPage(parts.mailCatcher)));
  routes.get("/sms", (c) => c.html(smsPage(parts.smsStandIn)));
  routes.get("/report", async (c) => {
    const [latest] = await database.orm.select().from(comparisons).orderBy(desc(comparisons.madeAt)).limit(1);
    return c.html(reportPage(latest));
  });
  routes.get("/health", async (c) => {
    await database.orm.execute(sql`select 1`);
    return c.json({ status: "ok" });
  });

  routes.post("/signup", async (c) => {
    const input = await readInput(c);
    if (input === undefined) return c.json({ error: "send a form, or a JSON object" }, 415);
    const parsed = signupForm.safeParse(input.values);
    if (!parsed.success) {
      const { fieldErrors } = z.flattenError(parsed.error);
      if (input.isForm) return c.html(homePage({ values: input.values, fieldErrors }), 400);
      return c.json({ error: "some fields are not valid", fields: fieldErrors }, 400);
    }
    const user = await signUp(database, sluice, parsed.data);
    if (user === undefined) {
      const fieldErrors = { email: ["Somebody has signed up with this address already."] };
      if (input.isForm) return c.html(homePage({ values: input.values, fieldErrors }), 409);
      return c.json({ error: "this address has signed up already", fields: fieldErrors }, 409);
    }
    activity.signups += 1;
    return input.isForm ? c.redirect("/?welcome", 303) : c.json({ userId: user.id }, 201);
  });

  routes.onError((error, c) => {
    parts.logger.log("error", "a request failed", { path: c.req.path, error });
    const status = c.req.path === "/health" ? 503 : 500;
    return c.json({ error: "this did not work; please try again" }, status);
  });
  return routes;
}

/** The request's fields, or undefined when the body is neither a form nor a JSON object. */
async function readInput(c: Context): Promise<{ isForm: boolean; values: Record<string, unknown> } | undefined> {
  const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type === "application/x-www-form-urlencoded" || type === "multipart/form-data") {
    return { isForm: true, values: await c.req.parseBody() };
  }
  if (type !== "application/json") return undefined;
  try {
    const values: unknown = JSON.parse(await c.req.text());
    if (typeof values !== "object" || values === null || Array.isArray(values)) return undefined;
    return { isForm: false, values: values as Record<string, unknown> };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
