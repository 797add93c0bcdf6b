import type { Html, Page } from "@sluice/app-kit";
import type { CaughtMail, MailCatcher } from "@sluice/app-kit/outside";
import { html } from "hono/html";
import PostalMime from "postal-mime";
import { received } from "./received.ts";

const most = 50;

/** The newest mails that the catcher holds, as text: what stands in a mail is never markup here. */
export async function mailsPage(page: Page, catcher: MailCatcher | undefined): Promise<Html> {
  if (catcher === undefined) {
    return page(
      "Mails",
      "/mails",
      html`<h1>Mails</h1><p>Mails go out over <code>SMTP_URL</code>; none are caught here.</p>`,
    );
  }
  const { items } = catcher.inbox;
  const shown = await Promise.all(items.slice(-most).reverse().map(mailRow));
  return page(
    "Mails",
    "/mails",
    html`
<h1>Mails</h1>
<p>Sent over SMTP to <code>${catcher.url}</code>, a catcher on this machine: none of them left it.
 ${items.length === 0 ? "None yet." : `${items.length} caught${items.length > most ? `, the newest ${most} shown` : ""}.`}</p>
<ul class="cards">${shown}</ul>`,
  );
}

async function mailRow(mail: CaughtMail): Promise<Html> {
  const parsed = await PostalMime.parse(mail.raw);
  return html`<li class="card">
<h2>${parsed.subject ?? "(no subject)"}</h2>
<p class="quiet">to ${mail.recipient} · ${received(mail.receivedAt)}</p>
<pre>${parsed.text ?? ""}</pre>
<p class="quiet">Message-ID <code>${parsed.messageId ?? "none"}</code></p>
</li>`;
}
