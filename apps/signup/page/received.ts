import type { Html } from "@sluice/app-kit";
import { html } from "hono/html";

/** When a mail or a text message came in: to the millisecond, since that is what one wants to compare here. */
export function received(at: Date): Html {
  const text = at.toISOString();
  return html`<time datetime="${text}">${text.slice(0, 10)} ${text.slice(11, 23)} UTC</time>`;
}
