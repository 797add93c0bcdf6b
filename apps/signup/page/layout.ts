import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";

/** A piece of HTML in which every inserted text was escaped. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

const links = [
  { path: "/", label: "Sign up" },
  { path: "/mails", label: "Mails" },
  { path: "/sms", label: "Text messages" },
  { path: "/report", label: "Comparison" },
] as const;

/** The frame around every page. */
export function layout(title: string, current: (typeof links)[number]["path"], content: Html): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Sluice sign-up</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<p class="brand"><span aria-hidden="true">≋</span> Sluice <span class="quiet">sign-up</span></p>
<nav aria-label="Pages">${links.map(
    ({ path, label }) => html`<a href="${path}" ${path === current ? html`aria-current="page"` : ""}>${label}</a>`,
  )}</nav>
</header>
<main id="content">${content}</main>
</body>
</html>`;
}
