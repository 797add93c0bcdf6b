import type { Html, Page } from "@sluice/app-kit";
import type { SmsStandIn } from "@sluice/app-kit/outside";
import { html } from "hono/html";
import { received } from "./received.ts";

const most = 50;

/** The newest text messages that the stand-in took. */
export function smsPage(page: Page, standIn: SmsStandIn | undefined): Html {
  if (standIn === undefined) {
    return page(
      "Text messages",
      "/sms",
      html`<h1>Text messages</h1><p>They go out through the provider; none are kept here.</p>`,
    );
  }
  const { items } = standIn.inbox;
  return page(
    "Text messages",
    "/sms",
    html`
<h1>Text messages</h1>
<p><strong>A stand-in took these: no telephone rang.</strong> It answers at <code>${standIn.account.baseUrl}</code> in the form
 of Twilio's API; set <code>TWILIO_ACCOUNT_SID</code> and its fellows for a real provider.
 ${items.length === 0 ? "None yet." : `${items.length} taken${items.length > most ? `, the newest ${most} shown` : ""}.`}</p>
<ul class="cards">${items
      .slice(-most)
      .reverse()
      .map(
        (sms) => html`<li class="card"><p>${sms.text}</p>
<p class="quiet">to ${sms.to} · ${received(sms.receivedAt)}</p></li>`,
      )}</ul>`,
  );
}
