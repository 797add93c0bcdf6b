import type { Database } from "@sluice/app-kit";
import { dominantColour, type Recognise } from "@sluice/app-kit/pictures";
import { sql } from "drizzle-orm";
import { consumer, exponential, type HandlerTransaction, stage } from "sluice";
import { recognitionHours } from "./hours.ts";
import { albumTicks, clustered, facesFound, uploads } from "./topics.ts";

const retry = { attempts: 3, backoff: exponential("500ms", "1m") };

/** Of one photo, the surest: a crowd would cost 0.1 s a face, and nobody looks for a person in the fiftieth row. */
export const mostFaces = 50;

/** The distance below which face-api's own FaceMatcher calls two faces the same person. */
export const publishedThreshold = 0.6;

/**
 * upload → faces, by the hours of the day. Keyed, so that each photo has a transaction of its own: a process that is killed loses one
 * photo's work, and another one does it again. That transaction is opened when the faces are known. `name` is for the photo's row.
 */
export function facesStage(parts: { database: Database; recognise: Recognise; timeZone: string; name: string }) {
  const { database, recognise, timeZone, name } = parts;
  return stage({
    from: uploads,
    to: facesFound,
    group: "faces",
    mode: "keyed",
    concurrency: 1,
    retry,
    hours: { timeZone, ...recognitionHours },
    map: async (c) => {
      const { photo } = c.value;
      const [row] = await database.sql<{ view: Uint8Array }[]>`select "view" from photos.photo where photo = ${photo}`;
      if (row === undefined) return undefined; // deleted meanwhile
      const { faces, hasMore } = await recognise(row.view);
      const found = faces.map(({ descriptor, ...face }, number) => ({ ...face, number, descriptor: [...descriptor] }));
      const kept = sql`photos.keep_faces(${photo}, ${JSON.stringify(found)}::text::json, ${hasMore}, ${name})`;
      return (await isDone(await c.tx(), kept)) ? c.value : undefined;
    },
  });
}

/**
 * faces → clusters, on arrival. Ordered, and the key is the owner: no other transaction gives people to this owner's faces, so none
 * is found twice.
 */
export function clustersStage(threshold: number) {
  return stage({
    from: facesFound,
    to: clustered,
    group: "clusters",
    retry,
    map: async (c) =>
      (await isDone(await c.tx(), sql`photos.cluster(${c.value.photo}, ${threshold})`)) ? c.value : undefined,
  });
}

/** clusters → index, on arrival. It produces nothing, so it is a consumer; row and position commit together all the same. */
export const indexConsumer = consumer(clustered, {
  group: "index",
  mode: "keyed",
  retry,
  handler: async (c) => {
    await (await c.tx()).execute(sql`select photos.index_photo(${c.value.photo})`);
  },
});

/** Albums, on a schedule: what has changed since is made anew, once for all the photos that came meanwhile. */
export const albumsConsumer = consumer(albumTicks, {
  group: "albums",
  retry,
  handler: async (c) => {
    await (await c.tx()).execute(sql`select photos.make_albums()`);
  },
});

/**
 * Who comes later: it knows the topic of uploads and nothing else. It begins at the beginning, so the photos from before it existed
 * get their colour, too; nothing that sends, and no other stage, was touched for it.
 */
export function coloursConsumer({ sql: read }: Database) {
  return consumer(uploads, {
    group: "colours",
    mode: "keyed",
    concurrency: 2,
    retry,
    handler: async (c) => {
      const { photo } = c.value;
      const [row] = await read<{ it: Uint8Array }[]>`select thumbnail as it from photos.photo where photo = ${photo}`;
      if (row === undefined) return;
      const colour = await dominantColour(row.it);
      await (await c.tx()).execute(sql`
        insert into photos.colour (photo, colour) select photo, ${colour} from photos.photo where photo = ${photo}
        on conflict (photo) do update set colour = excluded.colour, times = colour.times + 1`);
    },
  });
}

/** Calls a function that says whether the photo is still there. */
async function isDone(tx: HandlerTransaction, call: ReturnType<typeof sql>): Promise<boolean> {
  const [row] = await tx.execute<{ done: boolean }>(sql`select ${call} as done`);
  return row?.done === true;
}
