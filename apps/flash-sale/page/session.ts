import { createHmac, timingSafeEqual } from "node:crypto";
import type { Database } from "@sluice/app-kit";
import type { Context } from "hono";
import { getCookie, setCookie } from "hono/cookie";

const cookieName = "flash_sale_buyer";

/** Who a browser is: a name that this app gave it, signed, so that nobody can order as somebody else, or as thousands. */
export class Sessions {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  /** With the key of the environment, or else the database's own, which all processes of the app share. */
  static async open({ sql }: Database, secret: string | undefined): Promise<Sessions> {
    const [row] = await sql<{ key: string }[]>`select key from flash_sale.session_keys`;
    const key = secret ?? row?.key;
    if (key === undefined) throw new Error("flash_sale.session_keys is empty; its row is made at every start");
    return new Sessions(key);
  }

  /** For the load generator, whose buyers are made by the thousand and trusted to be who they say. */
  get key(): string {
    return this.#key;
  }

  /** The request's buyer; undefined when there is no session, or one that was not made here. */
  read(c: Context): string | undefined {
    const [buyer = "", signature = ""] = getCookie(c, cookieName)?.split(".") ?? [];
    const [given, expected] = [Buffer.from(signature), Buffer.from(this.#sign(buyer))];
    return given.length === expected.length && timingSafeEqual(given, expected) ? buyer : undefined;
  }

  /** The request's buyer; a new one where it has none. */
  readOrBegin(c: Context): string {
    const known = this.read(c);
    if (known !== undefined) return known;
    const buyer = crypto.randomUUID();
    setCookie(c, cookieName, `${buyer}.${this.#sign(buyer)}`, {
      httpOnly: true,
      sameSite: "Lax",
      path: "/",
      maxAge: 86_400,
    });
    return buyer;
  }

  /** The header that a browser with this buyer's session sends. */
  cookieOf(buyer: string): string {
    return `${cookieName}=${buyer}.${this.#sign(buyer)}`;
  }

  #sign(buyer: string): string {
    return createHmac("sha256", this.#key).update(buyer).digest("base64url");
  }
}
