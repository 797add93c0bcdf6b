import { createHash, randomUUID } from "node:crypto";
import type { Database } from "@sluice/app-kit";
import { readPicture, type SamplePhoto } from "@sluice/app-kit/pictures";
import { sql } from "drizzle-orm";
import type { Sluice } from "sluice";
import { uploads } from "./topics.ts";

/** What becomes of an upload: a new photo, the same one as before, or no room for it. */
export type Uploaded = { readonly photo: string; readonly state: "new" | "known" } | { readonly state: "full" };

/** Of one owner: a face is compared with all faces of its owner, and that has to stay quick. */
export const mostPhotos = 500;
/**
 * Keeps a photo and sends its message in one transaction: both are there afterwards, or neither. Nobody who recognises faces has to be
 * there for it. The same bytes of one owner are one photo, however often and from how many tabs they come.
 *
 * Fails with `PictureRefusal` when it is no picture that can be shown.
 */
export async function upload(database: Database, sluice: Sluice, owner: string, file: SamplePhoto): Promise<Uploaded> {
  const { format, width, height, view, thumbnail } = await readPicture(file.bytes);
  const [photo, original] = [randomUUID(), Buffer.from(file.bytes)];
  const sha256 = createHash("sha256").update(original).digest();
  // What no screen shows and Postgres cannot store: control characters and half surrogates.
  const name = file.name.replaceAll(/[\p{Cc}\p{Cs}]/gu, "").slice(0, 200) || "photo";
  return database.orm.transaction(async (tx) => {
    // Uploads of one owner that come together are counted one after the other.
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('photos ' || ${owner}, 0))`);
    const [own] = await tx.execute<{ count: number; known: string | null }>(sql`
      select count(*)::int as count, (array_agg(photo) filter (where sha256 = ${sha256}))[1] as known
      from photos.photo where owner = ${owner}`);
    if (typeof own?.known === "string") return { photo: own.known, state: "known" };
    if ((own?.count ?? 0) >= mostPhotos) return { state: "full" };
    await tx.execute(sql`
      insert into photos.photo (photo, owner, name, sha256, format, width, height, original, "view", thumbnail)
      values (${photo}, ${owner}, ${name}, ${sha256}, ${format}, ${width}, ${height}, ${original}, ${view}, ${thumbnail})`);
    await sluice.send(uploads, { photo, owner }, { tx });
    return { photo, state: "new" };
  });
}
