import { type Html, type Page, pictureElement, scenariosElement } from "@sluice/app-kit";
import { html } from "hono/html";
import type { SaleOnBoard } from "./board.ts";

/** The sale: the button, the buyer's place, and how everybody else fares. */
export function homePage(page: Page, sale: SaleOnBoard | undefined, refusal: string | undefined): Html {
  return page(
    "Sale",
    "/",
    html`
<div class="columns">
<section aria-labelledby="sale-title" id="sale" data-sale="${sale?.sale ?? ""}">
<h1 id="sale-title">${sale === undefined ? "No sale yet" : `Flash sale ${sale.sale}`}</h1>
<div class="card offer">
${sale === undefined ? html`<p class="quiet">Open one below, or start a scenario.</p>` : html`<p class="left"><b class="in-stock" id="in-stock">${sale.inStock}</b> <span class="quiet">of <span id="stock">${sale.stock}</span> left</span></p>`}
<button type="button" id="buy" disabled>Buy one</button>
<div id="mine" role="status" aria-live="polite"></div>
<button type="button" id="pay" hidden>Pay now</button>
</div>
<div class="card open">
<p class="newer" id="newer" hidden><a href="/">A newer sale has begun: look at it</a></p>
<p class="quiet">${refusal ?? "A new sale of 100 items, to be paid within 30 seconds."}</p>
<button type="button" class="small" id="open" ${refusal === undefined ? "" : "disabled"}>New sale</button>
</div>
<noscript><p class="quiet">The sale needs JavaScript.</p></noscript>
</section>
<section aria-labelledby="plot-title">
<h2 id="plot-title">The peak, and what is left of it</h2>
<figure class="card plot" id="plot" aria-label="Orders per second and orders in line over the last half minute">
<p class="quiet">Waiting for the first numbers …</p>
</figure>
<div class="table-box"><table id="sales"><caption class="quiet">The latest sales</caption>
<thead><tr><th>sale</th><th>items</th><th>sold</th><th>held</th><th>waiting</th><th>returned</th><th>sold out</th></tr></thead>
<tbody></tbody></table></div>
</section>
</div>
<section aria-labelledby="scenarios-title">
<h2 id="scenarios-title">Try it out</h2>
${scenariosElement()}
</section>
<section aria-labelledby="picture-title">
<h2 id="picture-title">The line, and the payments that are waited for</h2>
${pictureElement()}
</section>
<link rel="stylesheet" href="/sale.css">
<script type="module" src="/sale.js"></script>`,
  );
}
