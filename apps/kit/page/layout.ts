import { html } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";

/** A piece of HTML in which every inserted text was escaped. */
export type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

/** An entry of the navigation. */
export interface Link {
  readonly path: string;
  readonly label: string;
}

/** What all pages of an app have in common. */
export interface LayoutOptions {
  /** Beside the sign of Sluice, e.g. `sign-up`. */
  readonly brand: string;
  readonly links: readonly Link[];
}

/** A page: its title, the path that the navigation marks as the present one, and what is in it. */
export type Page = (title: string, path: string, content: Html) => Html;

/** The frame around every page of an app. The kit's scripts come along; each does nothing without its element. */
export function layout({ brand, links }: LayoutOptions): Page {
  return (title, path, content) => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Sluice ${brand}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/kit/style.css">
<link rel="stylesheet" href="/kit/picture.css">
<script src="/kit/picture.js" defer></script>
<script src="/kit/scenarios.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<p class="brand"><span aria-hidden="true">≋</span> Sluice <span class="quiet">${brand}</span></p>
<nav aria-label="Pages">${links.map(
    (link) => html`<a href="${link.path}" ${link.path === path ? html`aria-current="page"` : ""}>${link.label}</a>`,
  )}</nav>
</header>
<main id="content">${content}</main>
</body>
</html>`;
}

/** Where the live picture of topics and groups appears. `from`: the address of its stream; default `/picture`. */
export function pictureElement(from = "/picture"): Html {
  return html`<section class="picture" data-picture="${from}" aria-label="Topics and groups, live">
<p class="quiet">Waiting for the first numbers …</p><noscript><p class="quiet">The picture needs JavaScript.</p></noscript>
</section>`;
}

/** Where the scenarios appear, each with its button. `at`: the address of their routes; default `/scenarios`. */
export function scenariosElement(at = "/scenarios"): Html {
  return html`<section class="scenarios" data-scenarios="${at}" aria-label="Scenarios">
<noscript><p class="quiet">Scenarios need JavaScript; <code>--once</code> runs them all in the terminal.</p></noscript>
</section>`;
}
