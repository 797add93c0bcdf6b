import type { DeadLetter } from "@sluice/broker";
import { nameAndMessage } from "@sluice/kernel";
import type { ReadBatch } from "@sluice/log";
import { keptMessageAt } from "./kept-batch.ts";

/** Characters of an error's text that are kept. */
const errorCharacters = 8_192;

/** A batch's record as the dead letter of a group. */
export function deadLetterOf(
  batch: ReadBatch,
  index: number,
  death: Pick<DeadLetter, "group" | "topic" | "partition" | "reason" | "error" | "attempts">,
): DeadLetter {
  return {
    ...death,
    ...keptMessageAt(batch, index),
  };
}

/** What Postgres can keep of an error: NUL and lone surrogates would be refused, and the message is worth more than them. */
export function errorText(thrown: unknown): string {
  const { name, message } = nameAndMessage(thrown);
  return storableText(`${name}: ${message}`);
}

/** The same of any text. */
export function storableText(text: string): string {
  return text.replaceAll("\u0000", "␀").slice(0, errorCharacters).toWellFormed();
}
