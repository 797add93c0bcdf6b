import { type Database, readFields } from "@sluice/app-kit";
import type { Context, Hono } from "hono";
import { z } from "zod";
import type { Sessions } from "./session.ts";

/** In characters; the table's constraint says the same. */
export const longestName = 60;

const form = z.object({
  name: z
    .string("Please send a name.")
    .trim()
    .min(1, "Please write a name.")
    .max(longestName, `At most ${longestName} characters, please.`)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, "This holds characters that cannot be shown."),
});

/** What the route works with. */
export interface NamingParts {
  readonly web: Hono;
  readonly database: Database;
  readonly sessions: Sessions;
  /** Answers a session that was not begun here. */
  readonly unknown: (c: Context) => Response;
  /** Answers a plain form whose name is not taken: the page, with the reason. */
  readonly refuse: (c: Context, owner: string, reason: string) => Response | Promise<Response>;
}

/** Adds `POST /people/:person/name`: the owner says who it is. To everybody else the person is not there. */
export function namingRoute({ web, database, sessions, unknown, refuse }: NamingParts): void {
  web.post("/people/:person/name", async (c) => {
    const [session, person] = [await sessions.read(c), z.uuid().safeParse(c.req.param("person"))];
    if (session === "forged") return unknown(c);
    if (session === "none" || !person.success) return c.notFound();
    const fields = await readFields(c);
    if (fields === undefined) return c.json({ error: "send a form, or a JSON object" }, 415);
    const parsed = form.safeParse(fields.values);
    if (!parsed.success) {
      const reason = parsed.error.issues[0]?.message ?? "This is no name.";
      const wantsPage = fields.isForm && c.req.header("accept")?.includes("text/html") === true;
      return wantsPage ? refuse(c, session.owner, reason) : c.json({ error: reason }, 400);
    }
    const named = await database.sql`
      update photos.person set name = ${parsed.data.name} where person = ${person.data} and owner = ${session.owner}
      returning person`;
    if (named.length === 0) return c.notFound();
    return fields.isForm ? c.redirect(`/?person=${person.data}`, 303) : c.json({ name: parsed.data.name });
  });
}
