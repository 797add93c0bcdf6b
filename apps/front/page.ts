import { type Html, pictureElement, scenariosElement } from "@sluice/app-kit";
import { html } from "hono/html";
import type { SampleApp } from "./apps.ts";

/** An app and where its own page is. */
export type ShownApp = Pick<SampleApp, "name" | "title" | "what"> & { readonly address: string };

/** The front page: what each app shows, its scenarios, and everything that flows. */
export function frontContent(apps: readonly ShownApp[]): Html {
  return html`
<section aria-labelledby="front-title">
<h1 id="front-title">A message broker that lives in your Postgres</h1>
<p class="lead">Each of these is an app that one could deploy, a process of its own; all of them work over the one database.
 Start a scenario and watch its topics and groups.</p>
</section>
<div class="front">
<div class="samples">${apps.map(
    (app) => html`<section class="sample" aria-labelledby="app-${app.name}">
<div class="sample-head"><h2 id="app-${app.name}">${app.title}</h2> <a class="open" href="${app.address}">Open the app</a></div>
<p>${app.what}</p>
${scenariosElement(`/apps/${app.name}/scenarios`)}
</section>`,
  )}</div>
<section class="flows" aria-labelledby="picture-title">
<h2 id="picture-title">What flows now</h2>
${pictureElement()}
</section>
</div>
<link rel="stylesheet" href="/front.css">`;
}
