import { readFields } from "@sluice/app-kit";
import type { Context } from "hono";
import { z } from "zod";
import type { Order } from "../topics.ts";
import type { Sessions } from "./session.ts";

const oneItem = "One item for each buyer: the quantity must be 1.";
const form = z.object({
  sale: z.coerce.number("Which sale?").int("Which sale?").min(1, "Which sale?").max(2_147_483_647, "Which sale?"),
  quantity: z.union([z.literal(1), z.literal("1")], oneItem),
});

/**
 * The order that a request asks for, or the answer to what is none: 415 for what is neither form nor JSON, 401 without a
 * session that was made here, 400 for everything else, in a sentence. Nothing was written by then.
 */
export async function readOrder(c: Context, sessions: Sessions): Promise<Order | Response> {
  const fields = await readFields(c);
  if (fields === undefined) return c.json({ error: "send a form, or a JSON object" }, 415);
  const buyer = sessions.read(c);
  if (buyer === undefined) return c.json({ error: "Nobody knows this session. Please load the page again." }, 401);
  // Paying asks for no quantity: it was one.
  const parsed = form.safeParse({ quantity: 1, ...fields.values });
  if (parsed.success) return { sale: parsed.data.sale, buyer };
  return c.json({ error: parsed.error.issues[0]?.message ?? "This is no order." }, 400);
}
