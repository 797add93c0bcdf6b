import { type Frame, type Link, serveFile } from "@sluice/app-kit";
import type { Providers } from "@sluice/app-kit/outside";
import { homePage } from "./home.ts";
import { mailsPage } from "./mails.ts";
import { recentSignups } from "./recent.ts";
import { smsPage } from "./sms.ts";

/** The pages, for the navigation. */
export const links: readonly Link[] = [
  { path: "/", label: "Sign up" },
  { path: "/mails", label: "Mails" },
  { path: "/sms", label: "Text messages" },
];

/** Adds the pages, and what their scripts ask for. */
export function signupPages({ web, page, database }: Frame, { mailCatcher, smsStandIn }: Providers): void {
  web.get("/", (c) => c.html(homePage(page, { welcome: c.req.query("welcome") !== undefined })));
  for (const file of ["live.js", "signup.css"]) serveFile(web, `/${file}`, new URL(file, import.meta.url));
  web.get("/recent", async (c) => c.json(await recentSignups(database), 200, { "cache-control": "no-store" }));
  web.get("/mails", async (c) => c.html(await mailsPage(page, mailCatcher)));
  web.get("/sms", (c) => c.html(smsPage(page, smsStandIn)));
}
