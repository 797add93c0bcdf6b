import { createHash } from "node:crypto";
import { SluiceError } from "@sluice/kernel";

/** One numbered step of the schema. */
export interface Migration {
  /** Migrations are applied in the order of their numbers. */
  readonly number: number;
  /** The file name without its ending: `0001_log`. */
  readonly name: string;
  readonly text: string;
  /** SHA-256 of the text in hexadecimal, indifferent to how lines end. */
  readonly hash: string;
  /** Whether code that does not know this migration must not run on the schema any more. */
  readonly breaking: boolean;
}

/**
 * A migration from its file's name and text.
 *
 * The name begins with four digits, and the first line of the text is `-- breaking: yes` or `-- breaking: no`.
 *
 * @throws INVALID_OPTIONS when either does not hold
 * @example
 * defineMigration("0001_log", "-- breaking: no\ncreate table …")
 */
export function defineMigration(name: string, text: string): Migration {
  const number = /^(\d{4})_[a-z0-9_]+$/.exec(name)?.[1];
  if (number === undefined) {
    throw new SluiceError("INVALID_OPTIONS", `The migration ${name} needs a name like 0001_what_it_does.`);
  }
  const unified = text.replaceAll("\r\n", "\n");
  const breaking = /^-- breaking: (yes|no)\n/.exec(unified)?.[1];
  if (breaking === undefined) {
    throw new SluiceError("INVALID_OPTIONS", `The first line of ${name}.sql must be "-- breaking: yes" or "… no".`);
  }
  const hash = createHash("sha256").update(unified).digest("hex");
  return { number: Number(number), name, text: unified, hash, breaking: breaking === "yes" };
}
