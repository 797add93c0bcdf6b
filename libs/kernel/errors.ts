/**
 * Every error that Sluice raises, in one table: a stable code, whether trying the same thing again can help,
 * and the process exit code a command uses for it.
 *
 * A code is a promise: it is what callers match on, and it never changes its meaning.
 */
export const errorTable = {
  /** A declaration (topic, consumer, app, connection) has wrong options; `problems` lists all of them. */
  INVALID_OPTIONS: { retryable: false, exitCode: 64 },
  /** A value does not fit its topic's schema; `problems` names the paths. Nothing was written. */
  INVALID_VALUE: { retryable: false, exitCode: 65 },
  /** A record is larger than a limit allows (value, key, headers). Nothing was written. */
  RECORD_TOO_LARGE: { retryable: false, exitCode: 65 },
  /** The topic is not in the database and this process may not create it. Nothing was written. */
  UNKNOWN_TOPIC: { retryable: false, exitCode: 66 },
  /** There is no such group, or it has no position where one was asked for. Nothing was changed. */
  UNKNOWN_GROUP: { retryable: false, exitCode: 66 },
  /** There is no such member: its process has ended, or is another member since it lost its session. Nothing was changed. */
  UNKNOWN_MEMBER: { retryable: false, exitCode: 66 },
  /** Members of the group are at work on what was to be moved. Nothing was changed: stop them first, or force it. */
  GROUP_ACTIVE: { retryable: true, exitCode: 75 },
  /** A send asked for a group that consumes the topic, and there is none. Nothing was written. */
  NO_GROUP: { retryable: true, exitCode: 75 },
  /** The database cannot be reached: nobody listens, the name does not resolve, or it is starting up. */
  DATABASE_UNREACHABLE: { retryable: true, exitCode: 69 },
  /** The database refused the user or the password. */
  DATABASE_AUTHENTICATION: { retryable: false, exitCode: 77 },
  /** The role lacks a privilege. */
  DATABASE_PRIVILEGE: { retryable: false, exitCode: 77 },
  /** The server is older than the oldest Postgres that Sluice supports. */
  DATABASE_TOO_OLD: { retryable: false, exitCode: 69 },
  /** A pooler gives each statement another backend, `sessionUrl` gives no session, or it leads to another database. Nothing was written. */
  DATABASE_POOLED: { retryable: false, exitCode: 69 },
  /** The server cannot write: disk full, read-only, out of memory. What was acknowledged is safe. */
  DATABASE_RESOURCES: { retryable: true, exitCode: 74 },
  /** A call to the database passed its deadline or was cancelled. Whether it took effect is unknown. */
  DATABASE_TIMEOUT: { retryable: true, exitCode: 75 },
  /** Deadlock, serialization failure, lock time-out: the transaction was rolled back and may be tried again. */
  DATABASE_CONTENTION: { retryable: true, exitCode: 75 },
  /** Anything else the database said; `cause` holds its error, `sqlState` its code. */
  DATABASE_ERROR: { retryable: false, exitCode: 70 },
  /** The schema in the database was made by a newer Sluice than this process. */
  SCHEMA_NEWER: { retryable: false, exitCode: 78 },
  /** The schema in the database is older than this process needs, and this process may not migrate it. */
  SCHEMA_OLDER: { retryable: false, exitCode: 78 },
  /** A migration that was applied does not have the text it has here. */
  SCHEMA_CHANGED: { retryable: false, exitCode: 78 },
  /** The embedded server could not be started; the message tells why and where its log is. */
  EMBEDDED_FAILED: { retryable: false, exitCode: 69 },
  /** The connection died while a commit was under way and could not be settled by trying again. Sending again may double it. */
  COMMIT_UNKNOWN: { retryable: false, exitCode: 75 },
  /** An append came before the one it must follow. Nothing was written; producers see to it by themselves. */
  OUT_OF_SEQUENCE: { retryable: true, exitCode: 75 },
  /** The producer's buffer is full and the send chose not to wait, or waited past its limit. Nothing was written. */
  BUFFER_FULL: { retryable: true, exitCode: 75 },
  /** The topic holds as many messages as it may. Nothing was written; there is room again when consumers have gone on. */
  QUEUE_FULL: { retryable: true, exitCode: 75 },
  /** The producer, consumer or connection was closed. */
  CLOSED: { retryable: false, exitCode: 70 },
  /** A write came from an owner that has been replaced (an old epoch). It took no effect. */
  FENCED: { retryable: false, exitCode: 75 },
  /** A handler did not finish before the drain's deadline. Its messages will be delivered again. */
  DRAIN_TIMEOUT: { retryable: true, exitCode: 75 },
  /** A handler did not end within its consumer's `timeout`: a failed attempt. What it does afterwards has no effect on its message. */
  HANDLER_TIMEOUT: { retryable: true, exitCode: 75 },
  /** A second verb, a verb after the handler had ended, a middleware's second `next`. The call took no effect. */
  HANDLER_MISUSE: { retryable: false, exitCode: 70 },
  /** No answer to a request came in time. The message may still be handled, and its answer is dropped. */
  REQUEST_TIMEOUT: { retryable: true, exitCode: 75 },
  /** A request gets no answer: its message was given up. `reason` says why, as a code. */
  REQUEST_FAILED: { retryable: false, exitCode: 70 },
  /** A process ended while a handler was at work in it. */
  PROCESS_ENDED: { retryable: true, exitCode: 70 },
  /** Something that Sluice believes impossible. Please report it. */
  INTERNAL: { retryable: false, exitCode: 70 },
} as const;

/** The codes of {@link errorTable}. */
export type ErrorCode = keyof typeof errorTable;

/** One thing that is wrong with an input: where, and what. */
export interface Problem {
  /** Path to the value, in the spelling of code: `address.street[2]`; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

/** What an error carries beside its code and message. */
export interface SluiceErrorOptions {
  readonly cause?: unknown;
  readonly problems?: readonly Problem[];
  /** SQLSTATE where the database spoke. */
  readonly sqlState?: string;
  /** Of REQUEST_FAILED: why, as a code. */
  readonly reason?: string;
}

/**
 * The only class of error that Sluice throws. Match on `code`; never on the message.
 *
 * Messages never hold payloads or bound parameters, so they are safe to log.
 *
 * @example
 * try { await sluice.send(signups, value) }
 * catch (error) { if (isSluiceError(error, "INVALID_VALUE")) return badRequest(error.problems) ; throw error }
 */
export class SluiceError extends Error {
  override readonly name = "SluiceError";
  readonly code: ErrorCode;
  /** Whether doing the same again can succeed. */
  readonly retryable: boolean;
  readonly problems: readonly Problem[];
  readonly sqlState: string | undefined;
  /** Of REQUEST_FAILED: `exhausted`, `rejected`, `schema` or `expired`, as in sluice.dead_letters, or `duplicate`. */
  readonly reason: string | undefined;

  constructor(code: ErrorCode, message: string, options: SluiceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = errorTable[code].retryable;
    this.problems = options.problems ?? [];
    this.sqlState = options.sqlState;
    this.reason = options.reason;
  }

  /** The exit code (after sysexits.h) with which a command ends because of this error. */
  get exitCode(): number {
    return errorTable[this.code].exitCode;
  }
}

/** Whether `error` is a {@link SluiceError}, of the given code if one is given. */
export function isSluiceError(error: unknown, code?: ErrorCode): error is SluiceError {
  return error instanceof SluiceError && (code === undefined || error.code === code);
}

/** Builds one INVALID_OPTIONS or INVALID_VALUE error that lists every problem on a line of its own. */
export function problemsError(
  code: "INVALID_OPTIONS" | "INVALID_VALUE",
  subject: string,
  problems: readonly Problem[],
): SluiceError {
  const lines = problems.map((problem) =>
    problem.path === "" ? `  ${problem.message}` : `  ${problem.path}: ${problem.message}`,
  );
  return new SluiceError(code, `${subject}\n${lines.join("\n")}`, { problems });
}

/**
 * Any thrown thing as an Error whose name and message can be read, logged and kept: strings, undefined and hostile objects too. Of a
 * query builder's error it is what the database said, because the builder's own words hold the statement's parameters. Never throws.
 */
export function toError(thrown: unknown): Error {
  if (isReadable(thrown)) return quotesParameters(thrown) ? toError(thrown.cause ?? "a statement failed") : thrown;
  const text = typeof thrown === "string" ? thrown : `a value that is no Error was thrown: ${typeof thrown}`;
  return new Error(text, { cause: thrown });
}

/**
 * The name and the message of any thrown thing, in the words of {@link toError}. Its stack is not looked at: engines write it down when
 * it is first asked for, which takes longer than handling a message.
 */
export function nameAndMessage(thrown: unknown): { readonly name: string; readonly message: string } {
  try {
    if (thrown instanceof Error) {
      const { name, message }: { name: unknown; message: unknown } = thrown;
      if (typeof name === "string" && typeof message === "string" && !quotesParameters(thrown))
        return { name, message };
    }
  } catch {
    // What cannot be looked at is told as a thing that is no Error.
  }
  return toError(thrown);
}

/** Whether it is an error of drizzle's, whose message (and stack, which begins with it) quotes the parameters: what people wrote. */
function quotesParameters(error: Error): boolean {
  return "query" in error && "params" in error && error.message.startsWith("Failed query: ");
}

/** Whether it is an Error of which a log line and a dead letter can be made: getters may throw, a name may be a symbol. */
function isReadable(thrown: unknown): thrown is Error {
  try {
    if (!(thrown instanceof Error)) return false;
    const { name, message, stack } = thrown;
    return [name, message, stack ?? ""].every((text: unknown) => typeof text === "string");
  } catch {
    // What cannot be looked at is not readable; the answer is the whole report.
    return false;
  }
}
