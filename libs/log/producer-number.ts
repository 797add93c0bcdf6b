import { SluiceError } from "@sluice/kernel";
import type { Pool } from "@sluice/store";
import statement from "./sql/producer-number.sql" with { type: "text" };

/** A number for a producer that opens: no other of this database has it or ever will. */
export async function nextProducerNumber(pool: Pool): Promise<number> {
  const rows = await pool.query<{ producer: string }>("opening a producer", statement);
  const producer = Number(rows[0]?.producer);
  if (!Number.isSafeInteger(producer))
    throw new SluiceError("INTERNAL", "opening a producer: the database gave no number");
  return producer;
}
