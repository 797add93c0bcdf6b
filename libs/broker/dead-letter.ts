import type { KeptMessage } from "./kept-message.ts";

/**
 * Why a group gave a message up. `exhausted`: its last attempt failed. `rejected`: its handler said so. `schema`: it does not fit
 * the topic's schema. `expired`: its time to live was over.
 */
export type DeadLetterReason = (typeof deadLetterReasons)[number];

/** All of them. */
export const deadLetterReasons = ["exhausted", "rejected", "schema", "expired"] as const;

/** A message that a group gives up on, whole. */
export interface DeadLetter extends KeptMessage {
  readonly group: number;
  readonly topic: number;
  readonly partition: number;
  readonly reason: DeadLetterReason;
  readonly error: string | null;
  readonly attempts: number;
}

/** The letter as the first twelve parameters of the statements that keep one. */
export function deadLetterParameters(letter: DeadLetter): readonly (string | number | null)[] {
  return [
    letter.group,
    letter.topic,
    letter.partition,
    letter.offset,
    letter.id,
    letter.key,
    letter.value,
    JSON.stringify(letter.headers),
    letter.timestamp,
    letter.reason,
    letter.error,
    letter.attempts,
  ];
}

/** The letter as sluice.bury takes it. */
export function deadLetterJson({ timestamp, ...letter }: DeadLetter): string {
  return JSON.stringify({ ...letter, timestamp_ms: timestamp });
}
