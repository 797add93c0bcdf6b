import { readFields } from "@sluice/app-kit";
import type { Context } from "hono";
import { z } from "zod";
import type { Order } from "../topics.ts";
import type { Sessions } from "./session.ts";

const oneItem = "One item for each buyer: the quantity must be 1.";
const quantity = z.union([z.literal(1), z.literal("1")]).default(1);
const saleNumber = z.coerce.number().int().min(1).max(2_147_483_647);

/** The sale that the address names; undefined where it names none. */
export function readSale(c: Context): number | undefined {
  return saleNumber.safeParse(c.req.query("sale")).data;
}

/**
 * The order that a request asks for, or the answer to what is none: 415 for what is neither form nor JSON, 401 without a
 * session that was made here, 400 for everything else, in a sentence. Nothing was written by then.
 */
export async function readOrder(c: Context, sessions: Sessions): Promise<Order | Response> {
  const fields = await readFields(c);
  if (fields === undefined) return c.json({ error: "send a form, or a JSON object" }, 415);
  const buyer = sessions.read(c);
  if (buyer === undefined) return c.json({ error: "Nobody knows this session. Please load the page again." }, 401);
  const sale = readSale(c);
  if (sale === undefined) return c.json({ error: "Which sale?" }, 400);
  // Paying asks for no quantity: it was one.
  return quantity.safeParse(fields.values["quantity"]).success ? { sale, buyer } : c.json({ error: oneItem }, 400);
}
