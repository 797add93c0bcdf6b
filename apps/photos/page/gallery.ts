import type { Database, Html } from "@sluice/app-kit";
import { html } from "hono/html";
import { longestName } from "./naming.ts";

interface FaceRow {
  readonly number: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly person: string | null;
  /** The person's name, or number. */
  readonly label: string | null;
}

interface PhotoRow {
  readonly photo: string;
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly state: "waiting" | "recognised" | "clustered" | "indexed";
  readonly tookMs: number;
  /** Known once the group colours has come along. */
  readonly colour: string | null;
  readonly hasMoreFaces: boolean;
  readonly deadLetter: number | null;
  readonly error: string | null;
  readonly faces: readonly FaceRow[];
}

interface AlbumRow {
  readonly person: string;
  readonly number: number;
  readonly name: string | null;
  readonly photos: number;
  readonly cover:
    | (FaceRow & { readonly photo: string; readonly photoWidth: number; readonly photoHeight: number })
    | null;
}

/** At most so many are on the page. */
const shown = 60;

/** The owner's photos, the newest first; `person`: those of one person, by the index. */
async function readPhotos({ sql }: Database, owner: string, person: string | undefined): Promise<readonly PhotoRow[]> {
  const rows = await sql<{ row: PhotoRow }[]>`
    select json_build_object('photo', p.photo, 'name', p.name, 'width', p.width, 'height', p.height,
      'state', case when e.photo is not null then 'indexed' when p.clustered > 0 then 'clustered'
        when p.recognised > 0 then 'recognised' else 'waiting' end,
      'tookMs', round(extract(epoch from e.indexed_at - p.uploaded_at) * 1000), 'hasMoreFaces', p.has_more_faces,
      'deadLetter', d.dead_letter, 'colour', (select colour from photos.colour o where o.photo = p.photo), 'error', left(d.error, 200),
      'faces', (select coalesce(json_agg(json_build_object('number', f.number, 'x', f.x, 'y', f.y, 'width', f.width,
          'height', f.height, 'person', f.person, 'label', coalesce(n.name, n.number::text)) order by f.number), '[]')
        from photos.face f left join photos.person n using (person) where f.photo = p.photo)) as row
    from photos.photo p left join photos.entry e using (photo)
      left join lateral (
        select dead_letter, error from sluice.dead_letters
        where e.photo is null and "group" in ('faces', 'clusters', 'index') and value ->> 'photo' = p.photo::text
        limit 1) d on true
    where p.owner = ${owner} and (${person ?? null}::uuid is null or e.people @> array[${person ?? null}::uuid])
    order by p.uploaded_at desc, p.photo limit ${shown}`;
  return rows.map(({ row }) => row);
}

async function readAlbums({ sql }: Database, owner: string): Promise<readonly AlbumRow[]> {
  const rows = await sql<{ row: AlbumRow }[]>`
    select json_build_object('person', a.person, 'number', n.number, 'name', n.name, 'photos', a.photos, 'cover', c.cover) as row
    from photos.album a join photos.person n using (person)
      left join lateral (
        select json_build_object('photo', f.photo, 'photoWidth', p.width, 'photoHeight', p.height, 'number', f.number,
          'x', f.x, 'y', f.y, 'width', f.width, 'height', f.height) as cover
        from photos.face f join photos.photo p using (photo)
        where f.photo = a.cover and f.person = a.person limit 1) c on true
    where a.owner = ${owner} and a.photos > 0 order by a.photos desc, n.number limit 100`;
  return rows.map(({ row }) => row);
}

/** The people and the photos: what changes by itself, for the page and for its script. */
export async function gallery(database: Database, owner: string, person: string | undefined): Promise<Html> {
  const [albums, photos] = await Promise.all([readAlbums(database, owner), readPhotos(database, owner, person)]);
  const chosen = albums.find((album) => album.person === person);
  return html`<section id="people" aria-labelledby="people-title">
<h2 id="people-title">People</h2>
${albums.length === 0 ? html`<p class="quiet">Nobody yet: albums are made anew every three seconds.</p>` : html`<ul class="people">${albums.map((album) => albumEntry(album, person))}</ul>`}
</section>
<section id="photos" aria-labelledby="photos-title">
<h2 id="photos-title">${person === undefined ? "Photos" : `Photos of ${chosen === undefined ? "this person" : called(chosen)}`}</h2>
${person === undefined ? "" : html`<p><a href="/">All photos</a></p>`}
${chosen === undefined ? "" : nameForm(chosen)}
${photos.length === 0 ? html`<p class="quiet">There are none.</p>` : html`<ul class="photos">${photos.map(photoEntry)}</ul>`}
</section>`;
}

/** In the middle of a sentence. */
function called({ name, number }: AlbumRow): string {
  return name ?? `person ${number}`;
}

function nameForm({ person, name }: AlbumRow): Html {
  return html`<form class="bare naming" method="post" action="/people/${person}/name">
<label for="name">${name === null ? "Who is this?" : "Name"}</label>
<input id="name" name="name" value="${name ?? ""}" maxlength="${longestName}" autocomplete="off" required>
<button class="small">${name === null ? "Name" : "Rename"}</button></form>`;
}

function albumEntry({ person, number, name, photos, cover }: AlbumRow, chosen: string | undefined): Html {
  return html`<li><a href="/?person=${person}" ${person === chosen ? html`aria-current="true"` : ""}>${cover === null ? "" : coverPicture(cover)}
<span class="person">${name ?? `Person ${number}`}</span> <span class="quiet">${photos} ${photos === 1 ? "photo" : "photos"}</span></a></li>`;
}

/** The face, cut out of the photo by what part of it is shown. */
function coverPicture(cover: NonNullable<AlbumRow["cover"]>): Html {
  const [width, height] = [cover.photoWidth, cover.photoHeight];
  const side = Math.max(cover.width * width, cover.height * height) * 1.4;
  const [left, top] = [
    (cover.x + cover.width / 2) * width - side / 2,
    (cover.y + cover.height / 2) * height - side / 2,
  ];
  return html`<svg class="cover" viewBox="${left} ${top} ${side} ${side}" aria-hidden="true"><image href="/photos/${cover.photo}/view" width="${width}" height="${height}"></image></svg>`;
}

const words = {
  waiting: "waits for recognition",
  recognised: "faces found",
  clustered: "people known",
  indexed: "in the index",
} as const;

function photoEntry(row: PhotoRow): Html {
  const { photo, name, width, height, state, faces, colour } = row;
  const count = row.hasMoreFaces
    ? `the ${faces.length} surest faces of more`
    : `${faces.length} ${faces.length === 1 ? "face" : "faces"}`;
  const took = state === "indexed" ? `, ${(row.tookMs / 1_000).toFixed(1)} s after its upload` : "";
  return html`<li class="photo"><div class="frame"><img src="/photos/${photo}/view" alt="${name}" width="${width}" height="${height}" loading="lazy">
<svg viewBox="0 0 ${width} ${height}">${faces.map((face) => faceBox(row, face))}</svg></div>
<p class="name">${colour === null ? "" : html`<svg class="swatch" viewBox="0 0 1 1" role="img" aria-label="colour ${colour}"><rect width="1" height="1" fill="${colour}"></rect></svg> `}${name}</p>
<p><span class="badge ${state === "indexed" ? "done" : row.error === null ? "waiting" : "dead"}">${row.error === null ? words[state] + took : "given up"}</span>
<span class="quiet">${state === "waiting" ? "" : faces.length === 0 ? "no face found" : count}</span></p>
${
  row.deadLetter === null
    ? ""
    : html`<p class="bad">${row.error}</p><form method="post" action="/photos/${photo}/retry"><button class="small">Try again</button></form>`
}
<form method="post" action="/photos/${photo}/delete"><button class="small plain" aria-label="Delete ${name}">Delete</button></form></li>`;
}

function faceBox({ width, height }: PhotoRow, face: FaceRow): Html {
  const [x, y] = [face.x * width, face.y * height];
  const [across, down] = [face.width * width, face.height * height];
  const box = html`<rect x="${x}" y="${y}" width="${across}" height="${down}" rx="${width / 100}" vector-effect="non-scaling-stroke"></rect>`;
  if (face.person === null) return box;
  const label = face.label ?? "";
  // Below the face there is room for a first name, which does not run out of the photo.
  const short = label.length > 12 ? `${label.slice(0, 11)}…` : label;
  const [at, anchor] = face.x > 0.6 ? [x + across, "end"] : [x, "start"];
  return html`<a href="/?person=${face.person}" aria-label="Find ${/^\d+$/.test(label) ? `person ${label}` : label}">${box}<text x="${at}" y="${y + down}" dy="1em" text-anchor="${anchor}" font-size="${width / 28}">${short}</text></a>`;
}
