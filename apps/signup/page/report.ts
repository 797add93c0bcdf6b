import { html } from "hono/html";
import type { comparisons } from "../database.ts";
import { type Html, layout } from "./layout.ts";

/** The newest comparison, as the terminal showed it. */
export function reportPage(latest: typeof comparisons.$inferSelect | undefined): Html {
  const content =
    latest === undefined
      ? html`<p>None has been made with this database: run <code>npm start -- --once</code>.</p>`
      : html`<p><span class="badge ${latest.passed ? "sent" : "refused"}">${latest.passed ? "passed" : "failed"}</span>
 <time datetime="${latest.madeAt.toISOString()}">${latest.madeAt.toISOString()}</time></p><pre class="report">${latest.report}</pre>`;
  return layout("Comparison", "/report", html`<h1>Comparison</h1>${content}`);
}
