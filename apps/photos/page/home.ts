import { type Html, type Page, pictureElement, scenariosElement } from "@sluice/app-kit";
import { html } from "hono/html";

/** What the page shows around its live part. */
export interface HomeOptions {
  readonly recognition: Html | string;
  readonly gallery: Html | string;
  /** What became of an upload without a script. */
  readonly answers?: readonly { readonly name: string; readonly text: string; readonly isGood: boolean }[];
}

/** Upload, recognition, people and photos. Works without scripts; then it is fresh when it is loaded anew. */
export function homePage(page: Page, { recognition, gallery, answers = [] }: HomeOptions): Html {
  return page(
    "Photos",
    "/",
    html`
<div class="columns">
<section aria-labelledby="upload-title">
<h1 id="upload-title">Photos</h1>
<p>An upload waits for <strong>one transaction</strong>: the photo and one message. Faces, people and index follow on their own.</p>
<form id="upload" method="post" action="/photos" enctype="multipart/form-data">
<div class="field"><label for="photo">JPEG, PNG or WebP, up to 12 MiB each</label>
<input id="photo" type="file" name="photo" accept="image/jpeg,image/png,image/webp" multiple required></div>
<button type="submit">Upload</button>
<p class="quiet" id="drop">… or drop them anywhere on this page.</p>
</form>
<form class="bare" method="post" action="/samples"><button class="small plain">Add six sample photos</button></form>
<ul id="answers" class="answers" role="status">${answers.map(({ name, text, isGood }) => html`<li class="${isGood ? "good" : "bad"}">${name}: ${text}</li>`)}</ul>
</section>
<div>
<div id="live-recognition">${recognition}</div>
<h2>upload → faces → clusters → index</h2>
${pictureElement()}
</div>
</div>
<div id="live-gallery">${gallery}</div>
<section aria-labelledby="scenarios-title">
<h2 id="scenarios-title">Try it out</h2>
${scenariosElement()}
</section>
<link rel="stylesheet" href="/photos.css">
<script src="/live.js" defer></script>`,
  );
}
