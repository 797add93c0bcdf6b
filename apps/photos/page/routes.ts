import { type Frame, type Link, readFields, serveFile } from "@sluice/app-kit";
import { PictureRefusal, type SamplePhoto, samplePhotos } from "@sluice/app-kit/pictures";
import type { Context } from "hono";
import type { Sluice } from "sluice";
import { z } from "zod";
import type { Recognisers } from "../recognisers.ts";
import { mostPhotos, upload } from "../upload.ts";
import { gallery } from "./gallery.ts";
import { homePage } from "./home.ts";
import { namingRoute } from "./naming.ts";
import { recognition } from "./recognition.ts";
import { openSessions } from "./session.ts";

/** The pages, for the navigation. */
export const links: readonly Link[] = [{ path: "/", label: "Photos" }];

/** What the web side works with. */
export interface RouteParts {
  readonly frame: Frame;
  readonly sluice: Sluice;
  readonly recognisers: Recognisers;
  /** Why recognition may not be changed from the page. */
  readonly refusal: string | undefined;
}

type Answer = {
  name: string;
  photo?: string;
  text: string;
  isGood: boolean;
  status: 200 | 201 | 400 | 409 | 413 | 415 | 422;
};

const recognitionForm = z.object({
  count: z.coerce.number().int().min(0).max(3).optional(),
  hours: z.enum(["clock", "busy", "normal", "idle"]).optional(),
});
const personQuery = z.uuid().optional().catch(undefined);

/** Adds the page, and what its forms and its script ask for. */
export async function photoRoutes({ frame, sluice, recognisers, refusal }: RouteParts): Promise<void> {
  const { web, page, database } = frame;
  const sessions = await openSessions(database);
  for (const file of ["live.js", "photos.css"]) serveFile(web, `/${file}`, new URL(`./${file}`, import.meta.url));
  const isAllowed = refusal === undefined;
  const unknown = (c: Context) => c.json({ error: "this session was not begun here; load the page anew" }, 401);
  const home = async (c: Context, owner: string, answers: readonly Answer[] = []) =>
    homePage(page, {
      recognition: await recognition(database, recognisers, isAllowed),
      gallery: await gallery(database, owner, personQuery.parse(c.req.query("person"))),
      answers,
    });
  /** The owner; whoever has no session gets one; a forged one gets `undefined`. */
  const ownerOf = async (c: Context) => {
    const session = await sessions.read(c);
    if (session === "forged") return undefined;
    return session === "none" ? await sessions.begin(c) : session.owner;
  };

  web.get("/", async (c) => {
    const owner = (await ownerOf(c)) ?? (await sessions.begin(c));
    return c.html(await home(c, owner));
  });
  web.get("/live/:part", async (c) => {
    const session = await sessions.read(c);
    if (typeof session === "string") return unknown(c);
    c.header("cache-control", "no-store");
    if (c.req.param("part") === "recognition") return c.html(await recognition(database, recognisers, isAllowed));
    return c.html(await gallery(database, session.owner, personQuery.parse(c.req.query("person"))));
  });

  const take = async (owner: string, file: SamplePhoto): Promise<Answer> => {
    try {
      const uploaded = await upload(database, sluice, owner, file);
      if (uploaded.state === "full") {
        const text = `there are ${mostPhotos} photos here; delete some first`;
        return { name: file.name, text, isGood: false, status: 409 };
      }
      const { photo, state } = uploaded;
      const text = state === "new" ? "uploaded" : "is here already";
      return { name: file.name, photo, text, isGood: true, status: state === "new" ? 201 : 200 };
    } catch (error) {
      if (!(error instanceof PictureRefusal)) throw error;
      return { name: file.name, text: error.message, isGood: false, status: error.status };
    }
  };
  const takeAll = async (c: Context, owner: string, files: readonly SamplePhoto[]) => {
    const answers: Answer[] = [];
    for (const file of files) answers.push(await take(owner, file));
    const status = (answers.find(({ isGood }) => !isGood) ?? answers[0])?.status ?? 422;
    if (c.req.header("accept")?.includes("application/json")) return c.json({ photos: answers }, status);
    return status === 201 ? c.redirect("/", 303) : c.html(await home(c, owner, answers), status);
  };
  web.post("/photos", async (c) => {
    const owner = await ownerOf(c);
    if (owner === undefined) return unknown(c);
    if (!c.req.header("content-type")?.startsWith("multipart/form-data")) {
      return c.json({ error: "send a form (multipart/form-data) with files named photo" }, 415);
    }
    const form = await c.req.parseBody({ all: true }).catch(() => undefined);
    if (form === undefined) return c.json({ error: "the form cannot be read" }, 400);
    const files = [form["photo"]].flat().filter((file) => file instanceof File);
    if (files.length === 0 || files.length > 50) return c.json({ error: "send 1 to 50 files named photo" }, 422);
    const read = files.map(async (file) => ({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) }));
    return takeAll(c, owner, await Promise.all(read));
  });
  web.post("/samples", async (c) => {
    const owner = await ownerOf(c);
    return owner === undefined ? unknown(c) : takeAll(c, owner, samplePhotos());
  });

  /** The photo in the address, if it is the asker's own; to all others it is not there. */
  const photoOf = async (c: Context) => {
    const [session, photo] = [await sessions.read(c), z.uuid().safeParse(c.req.param("photo"))];
    return typeof session === "string" || !photo.success ? undefined : { owner: session.owner, photo: photo.data };
  };
  const columns = {
    view: ["view", "jpeg"],
    thumbnail: ["thumbnail", "jpeg"],
    original: ["original", undefined],
  } as const;
  web.get("/photos/:photo/:which{view|thumbnail|original}", async (c) => {
    const asked = await photoOf(c);
    if (asked === undefined) return c.notFound();
    const [column, type] = columns[c.req.param("which") as keyof typeof columns];
    const [row] = await database.sql<{ bytes: Uint8Array<ArrayBuffer>; format: string }[]>`
      select ${database.sql(column)} as bytes, format from photos.photo
      where photo = ${asked.photo} and owner = ${asked.owner}`;
    if (row === undefined) return c.notFound();
    const headers = { "content-type": `image/${type ?? row.format}`, "cache-control": "private, max-age=86400" };
    return c.body(row.bytes, 200, headers);
  });
  web.post("/photos/:photo/delete", async (c) => {
    const asked = await photoOf(c);
    if (asked === undefined) return c.notFound();
    const { photo, owner } = asked;
    const isGone = await database.sql.begin(async (tx) => {
      // Its row is taken first: a stage that is about to write for it then finds it gone.
      const own = await tx`select from photos.photo where photo = ${photo} and owner = ${owner} for update`;
      if (own.length === 0) return false;
      await tx`update photos.album set is_stale = true
        where person in (select person from photos.face where photo = ${photo})`;
      await tx`delete from photos.photo where photo = ${photo}`;
      return true;
    });
    return isGone ? c.redirect("/", 303) : c.notFound();
  });
  web.post("/photos/:photo/retry", async (c) => {
    const asked = await photoOf(c);
    if (asked === undefined) return c.notFound();
    const letters = await database.sql<{ number: number }[]>`
      select d.dead_letter::int as number from sluice.dead_letters d join photos.photo p on p.photo::text = d.value ->> 'photo'
      where d."group" in ('faces', 'clusters', 'index') and p.photo = ${asked.photo} and p.owner = ${asked.owner}`;
    await sluice.deadLetters.redrive(letters.map((letter) => letter.number));
    return c.redirect("/", 303);
  });

  namingRoute({
    web,
    database,
    sessions,
    unknown,
    refuse: async (c, owner, text) =>
      c.html(await home(c, owner, [{ name: "Name", text, isGood: false, status: 400 }]), 400),
  });

  web.post("/recognition", async (c) => {
    if (refusal !== undefined) return c.json({ error: refusal }, 403);
    const parsed = recognitionForm.safeParse((await readFields(c))?.values);
    if (!parsed.success) return c.json({ error: "send count (0 to 3) or hours (clock, busy, normal, idle)" }, 400);
    const { count = recognisers.processes.count, hours } = parsed.data;
    await recognisers.set(count, hours === undefined ? recognisers.hours : hours === "clock" ? undefined : hours);
    return c.redirect("/", 303);
  });
}
