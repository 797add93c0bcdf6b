import { type Html, type Page, pictureElement, scenariosElement } from "@sluice/app-kit";
import { html } from "hono/html";

/** What a form that came back shows. */
export interface HomeOptions {
  readonly welcome?: boolean;
  readonly values?: Readonly<Record<string, unknown>>;
  readonly fieldErrors?: Readonly<Record<string, readonly string[] | undefined>>;
}

const fields = [
  { name: "name", label: "Name", type: "text", autocomplete: "name", example: "Ada Lovelace" },
  { name: "email", label: "E-mail", type: "email", autocomplete: "email", example: "ada@example.org" },
  {
    name: "phone",
    label: "Telephone, with country code",
    type: "tel",
    autocomplete: "tel",
    example: "+49 151 12345678",
  },
] as const;

/** The form, and beside it what becomes of the newest sign-ups. Works without scripts, except for the live part. */
export function homePage(page: Page, options: HomeOptions = {}): Html {
  const invalid = options.fieldErrors !== undefined;
  return page(
    "Sign up",
    "/",
    html`
<div class="columns">
<section aria-labelledby="form-title">
<h1 id="form-title">Sign up</h1>
<p>The answer waits for <strong>one transaction</strong>: your row and one message. Mail, text message and voucher follow on their own.</p>
<form id="signup" method="post" action="/signup" novalidate>
${fields.map((field) => fieldRow(field, options))}
<button type="submit">Sign up</button>
<p id="answer" role="status" class="${invalid ? "bad" : "good"}">${statusText(options)}</p>
</form>
</section>
<section aria-labelledby="live-title">
<h2 id="live-title">What happens now</h2>
<ol id="recent" class="recent" aria-live="polite" aria-relevant="additions"></ol>
<p id="nobody" class="quiet">Nobody has signed up yet.</p>
<noscript><p class="quiet">This list needs JavaScript; the form does not.</p></noscript>
</section>
</div>
<section aria-labelledby="picture-title">
<h2 id="picture-title">One topic, several groups</h2>
${pictureElement()}
</section>
<section aria-labelledby="scenarios-title">
<h2 id="scenarios-title">Try it out</h2>
${scenariosElement()}
</section>
<link rel="stylesheet" href="/signup.css">
<script src="/live.js" defer></script>`,
  );
}

function statusText(options: HomeOptions): string {
  if (options.fieldErrors !== undefined) return "Please look at the fields marked above.";
  return options.welcome === true ? "Welcome! Your account is ready." : "";
}

function fieldRow(field: (typeof fields)[number], options: HomeOptions): Html {
  const error = options.fieldErrors?.[field.name]?.[0] ?? "";
  const value = options.values?.[field.name];
  return html`<div class="field">
<label for="${field.name}">${field.label}</label>
<input id="${field.name}" name="${field.name}" type="${field.type}" autocomplete="${field.autocomplete}" placeholder="${field.example}"
 value="${typeof value === "string" ? value : ""}" required aria-describedby="${field.name}-error" aria-invalid="${error === "" ? "false" : "true"}">
<p class="error" id="${field.name}-error">${error}</p>
</div>`;
}
