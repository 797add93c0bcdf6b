import { type Database, type Frame, readFields } from "@sluice/app-kit";
import { sql } from "drizzle-orm";
import type { Sluice } from "sluice";
import { z } from "zod";
import { homePage } from "./page/home.ts";
import { users } from "./tables.ts";
import { signups } from "./topics.ts";

// Control characters and half surrogates: Postgres cannot store the ones, no screen shows the others.
const printable = /^[^\p{Cc}\p{Cs}]*$/u;

/** What the form must hold, with the sentences that its reader gets to see. */
export const signupForm = z.object({
  name: z
    .string("Please tell us your name.")
    .trim()
    .min(1, "Please tell us your name.")
    .max(100, "At most 100 characters, please.")
    .regex(printable, "This holds characters that cannot be shown."),
  email: z
    .string("Please give your e-mail address.")
    .trim()
    .toLowerCase()
    .max(254, "At most 254 characters, please.")
    .pipe(z.email("This is not an e-mail address.")),
  phone: z
    .string("Please give your telephone number.")
    .transform((text) => text.replace(/[\s()/.-]/g, ""))
    .pipe(z.string().regex(/^\+[1-9]\d{7,14}$/, "Please write it with the country code: +49 151 12345678.")),
});

/** A valid form. */
export type SignupForm = z.infer<typeof signupForm>;

/**
 * Writes the user and the message in one transaction: either both exist afterwards, or neither. Mail and SMS are the
 * consumers' business; the caller waits for one commit and nothing else. Resolves with undefined when somebody has signed
 * up with this address.
 *
 * @param rowStepMs what the comparison adds to the write of the row, to see it with a slower database; default 0
 */
export async function signUp(
  database: Database,
  sluice: Pick<Sluice, "send">,
  form: SignupForm,
  rowStepMs = 0,
): Promise<typeof users.$inferSelect | undefined> {
  return database.orm.transaction(async (tx) => {
    const user = await insertUser(tx, form, "queued", rowStepMs);
    if (user === undefined) return undefined;
    const { id: userId, name, email, phone } = user;
    await sluice.send(signups, { userId, name, email, phone }, { tx });
    return user;
  });
}

/** The row alone, for {@link signUp} and for the ways it is compared with. */
export async function insertUser(
  tx: Pick<Database["orm"], "insert" | "execute">,
  form: SignupForm,
  way: "queued" | "serial" | "parallel",
  rowStepMs: number,
): Promise<typeof users.$inferSelect | undefined> {
  if (rowStepMs > 0) await tx.execute(sql`select pg_sleep(${rowStepMs / 1_000})`);
  const row = { id: crypto.randomUUID(), ...form, way };
  const [user] = await tx.insert(users).values(row).onConflictDoNothing({ target: users.email }).returning();
  return user;
}

/** Adds `POST /signup`: a form gets a page or a redirect as its answer, JSON gets JSON. */
export function signupRoute({ web, page, database }: Frame, sluice: Pick<Sluice, "send">): void {
  web.post("/signup", async (c) => {
    const input = await readFields(c);
    if (input === undefined) return c.json({ error: "send a form, or a JSON object" }, 415);
    const refuse = (status: 400 | 409, error: string, fields: Record<string, string[] | undefined>) =>
      input.isForm
        ? c.html(homePage(page, { values: input.values, fieldErrors: fields }), status)
        : c.json({ error, fields }, status);
    const parsed = signupForm.safeParse(input.values);
    if (!parsed.success) return refuse(400, "some fields are not valid", z.flattenError(parsed.error).fieldErrors);
    const user = await signUp(database, sluice, parsed.data);
    if (user === undefined) {
      const taken = "Somebody has signed up with this address already.";
      return refuse(409, "this address has signed up already", { email: [taken] });
    }
    return input.isForm ? c.redirect("/?welcome", 303) : c.json({ userId: user.id }, 201);
  });
}
