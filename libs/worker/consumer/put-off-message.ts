import type { KeptMessage, Lifetime } from "@sluice/broker";

/** A message that was put off, and what its row says of it. */
export interface PutOffMessage {
  readonly message: KeptMessage & Lifetime;
  /** How often it was handed over. */
  readonly attempt: number;
  /** Why it failed the last time. */
  readonly error: string;
}
