import { randomUUID } from "node:crypto";
import { z } from "zod";

/** What every benchmark sends: about 150 bytes of JSON that compress badly, as real messages do. */
export const payloadSchema = z.object({
  id: z.string(),
  account: z.string(),
  name: z.string(),
  amount: z.number(),
  at: z.number(),
});

export type Payload = z.infer<typeof payloadSchema>;

/** One message; no two are alike. */
export function payload(): Payload {
  return {
    id: randomUUID(),
    account: randomUUID(),
    name: randomName(),
    amount: Math.random(),
    at: Date.now(),
  };
}

/** Many messages, made before the clock runs. */
export function payloads(count: number): Payload[] {
  return Array.from({ length: count }, payload);
}

function randomName(): string {
  return Math.random().toString(36).slice(2, 12);
}
