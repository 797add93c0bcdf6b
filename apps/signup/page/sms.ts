import { html } from "hono/html";
import type { SmsStandIn } from "../providers/sms-stand-in.ts";
import { type Html, layout } from "./layout.ts";

const most = 50;

/** The newest text messages that the stand-in took. */
export function smsPage(standIn: SmsStandIn | undefined): Html {
  if (standIn === undefined) {
    return layout(
      "Text messages",
      "/sms",
      html`<h1>Text messages</h1><p>They go out through the provider; none are kept here.</p>`,
    );
  }
  const { items } = standIn.inbox;
  return layout(
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
<p class="quiet">to ${sms.to} · <time datetime="${sms.receivedAt.toISOString()}">${sms.receivedAt.toISOString()}</time></p></li>`,
      )}</ul>`,
  );
}
