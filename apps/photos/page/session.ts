import { randomBytes } from "node:crypto";
import type { Database } from "@sluice/app-kit";
import type { Context } from "hono";
import { getCookie, getSignedCookie, setSignedCookie } from "hono/cookie";

/** Who asks. */
export interface Sessions {
  /** The session's owner; `forged` when a cookie is there that this app did not sign; `none` when there is no cookie. */
  read(c: Context): Promise<{ readonly owner: string } | "forged" | "none">;
  /** Begins a session: its cookie goes along with the answer. */
  begin(c: Context): Promise<string>;
}

const cookie = "photos-session";
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Sessions are a random name that is signed with a key from the database: nobody can make up, or guess, another one's. */
export async function openSessions({ sql }: Database): Promise<Sessions> {
  await sql`insert into photos.secret (key) values (${randomBytes(48).toString("hex")}) on conflict do nothing`;
  const [row] = await sql<{ key: string }[]>`select key from photos.secret`;
  if (row === undefined) throw new Error("photos.secret is empty, though a row was just written");
  return {
    async read(c) {
      const owner = await getSignedCookie(c, row.key, cookie);
      if (typeof owner === "string" && uuid.test(owner)) return { owner };
      // One without a signature counts as not there for hono.
      return getCookie(c, cookie) === undefined ? "none" : "forged";
    },
    async begin(c) {
      const owner = crypto.randomUUID();
      await setSignedCookie(c, cookie, owner, row.key, {
        httpOnly: true,
        sameSite: "Strict",
        path: "/",
        maxAge: 30 * 86_400,
        secure: c.req.header("x-forwarded-proto") === "https",
      });
      return owner;
    },
  };
}
