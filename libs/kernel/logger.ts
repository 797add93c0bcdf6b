import { toError } from "./errors.ts";

/** Severity, after the common four. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** What a log line carries beside its message. Never a payload. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Where Sluice writes its log lines. Any structured logger fits with a line of glue; `isEnabled` lets the hot path
 * skip building fields for a level that nobody reads.
 */
export interface Logger {
  isEnabled(level: LogLevel): boolean;
  log(level: LogLevel, message: string, fields?: LogFields): void;
}

const order: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/**
 * One JSON object per line on standard error: `{"time","level","message",…fields}`.
 *
 * @param minimum the lowest level that is written; default `"info"`
 */
export function jsonLogger(minimum: LogLevel = "info"): Logger {
  const from = order.indexOf(minimum);
  return {
    isEnabled: (level) => order.indexOf(level) >= from,
    log(level, message, fields) {
      if (order.indexOf(level) < from) return;
      process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...plain(fields) })}\n`);
    },
  };
}

/** Discards everything. */
export const silentLogger: Logger = { isEnabled: () => false, log: () => undefined };

/** Errors as JSON shows nothing of them: take what a reader needs. */
function plain(fields: LogFields | undefined): LogFields {
  if (fields === undefined) return {};
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? shown(toError(value)) : typeof value === "bigint" ? value.toString() : value,
    ]),
  );
}

function shown(error: Error): LogFields {
  return { name: error.name, message: error.message, code: codeOf(error), stack: error.stack };
}

/** An error's code, where it is one: anything may stand there, also what JSON cannot write or what throws when it is read. */
function codeOf(error: Error): string | number | undefined {
  try {
    const { code } = error as { readonly code?: unknown };
    return typeof code === "string" || typeof code === "number" ? code : undefined;
  } catch {
    // A code that cannot be read is none; the line is about the error.
    return undefined;
  }
}
