import { type ErrorCode, SluiceError, toError } from "@sluice/kernel";

/**
 * Any error that came out of a call to the database as a SluiceError. Total: whatever it is given, it classifies,
 * by SQLSTATE and by the codes of the driver and the platform, never by the text of a message.
 *
 * The message names SQLSTATE, constraint, table and column, and the server's own words only where these cannot hold
 * a value of a row. The `cause` is the driver's error.
 *
 * @example
 * catch (thrown) { throw toDatabaseError(thrown) }
 */
export function toDatabaseError(thrown: unknown): SluiceError {
  if (thrown instanceof SluiceError) return thrown;
  for (const error of causesOf(thrown)) {
    if (error instanceof SluiceError) return error;
    const code = textOf(error, "code");
    if (code === undefined) continue;
    if (isSqlState(error, code)) return fromServer(error, code);
    const known = driverCodes[code];
    if (known !== undefined) return new SluiceError(known.code, known.message, { cause: error });
  }
  const error = toError(thrown);
  return new SluiceError("INTERNAL", "A call to the database failed for a reason that Sluice does not know.", {
    cause: error,
  });
}

/** The error and what caused it: query builders wrap the driver's error, and a message of theirs may hold parameters. */
function causesOf(thrown: unknown): unknown[] {
  const causes: unknown[] = [];
  for (let error = thrown; error !== undefined && error !== null && causes.length < 8; ) {
    causes.push(error);
    // A host with several addresses fails with one error for each of them.
    if (error instanceof AggregateError) causes.push(...error.errors);
    error = error instanceof Error ? error.cause : undefined;
  }
  return causes;
}

function textOf(error: unknown, name: string): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const value: unknown = Reflect.get(error, name);
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Codes of the platform, such as EPIPE, may look like a SQLSTATE; a server's error has a severity as well. */
function isSqlState(error: unknown, code: string): boolean {
  if (!/^[0-9A-Z]{5}$/.test(code)) return false;
  return textOf(error, "severity") !== undefined || textOf(error, "severity_local") !== undefined || code === "57014";
}

function fromServer(error: unknown, sqlState: string): SluiceError {
  const entry = byState[sqlState] ?? byClass[sqlState.slice(0, 2)] ?? unclassified;
  const names = ["constraint_name", "table_name", "column_name"].flatMap((name) => {
    const value = textOf(error, name);
    return value === undefined ? [] : [`${name.replace("_name", "")} ${value}`];
  });
  const where = [`SQLSTATE ${sqlState}`, ...names].join(", ");
  const words = entry.quotable ? textOf(error, "message") : undefined;
  return new SluiceError(entry.code, `${entry.message}${words === undefined ? "" : `: ${words}`} (${where}).`, {
    cause: error,
    sqlState,
  });
}

interface ServerEntry {
  readonly code: ErrorCode;
  readonly message: string;
  /** Whether the server's message can hold only names, never the values of a row or a parameter. */
  readonly quotable?: boolean;
}

const unclassified: ServerEntry = { code: "DATABASE_ERROR", message: "The database refused" };

const byState: Readonly<Record<string, ServerEntry>> = {
  SL002: { code: "OUT_OF_SEQUENCE", message: "The append came before the one it must follow; nothing was written" },
  SL016: {
    code: "QUEUE_FULL",
    message:
      "A bounded topic has no room; nothing was written. Its consumers are slower than its senders; try again later",
  },
  SL017: {
    code: "RECORD_TOO_LARGE",
    message: "A transaction produces more messages to a bounded topic than that may ever hold; nothing was written",
  },
  SL030: { code: "GROUP_ACTIVE", message: "The group is at work", quotable: true },
  SL031: { code: "UNKNOWN_GROUP", message: "There is no such group or position", quotable: true },
  SL033: { code: "UNKNOWN_TOPIC", message: "There is no such topic", quotable: true },
  SL034: { code: "UNKNOWN_MEMBER", message: "There is no such member", quotable: true },
  SL035: { code: "FENCED", message: "Another process is this member", quotable: true },
  "25006": { code: "DATABASE_RESOURCES", message: "The database is read-only" },
  "25P03": { code: "DATABASE_TIMEOUT", message: "The transaction was idle for too long" },
  "25P04": { code: "DATABASE_TIMEOUT", message: "The transaction took too long" },
  "42501": { code: "DATABASE_PRIVILEGE", message: "The role lacks a privilege", quotable: true },
  "53300": { code: "DATABASE_UNREACHABLE", message: "The database has no connection left" },
  "55P03": { code: "DATABASE_CONTENTION", message: "A lock was not to be had in time" },
  "57014": { code: "DATABASE_TIMEOUT", message: "The statement was cancelled or passed its deadline" },
  "57P01": { code: "DATABASE_UNREACHABLE", message: "The database ended the connection" },
  "57P02": { code: "DATABASE_UNREACHABLE", message: "The database crashed and is restarting" },
  "57P03": { code: "DATABASE_UNREACHABLE", message: "The database is starting up or shutting down" },
  "57P05": { code: "DATABASE_TIMEOUT", message: "The session was idle for too long" },
};

const byClass: Readonly<Record<string, ServerEntry>> = {
  "08": { code: "DATABASE_UNREACHABLE", message: "The connection to the database failed" },
  "28": { code: "DATABASE_AUTHENTICATION", message: "The database refused the user or the password" },
  "3D": { code: "DATABASE_ERROR", message: "There is no such database", quotable: true },
  "3F": { code: "DATABASE_ERROR", message: "There is no such schema", quotable: true },
  "40": { code: "DATABASE_CONTENTION", message: "The transaction met another and was rolled back" },
  "42": { code: "DATABASE_ERROR", message: "The statement does not fit the schema", quotable: true },
  "53": { code: "DATABASE_RESOURCES", message: "The database has run out of a resource" },
  "55": { code: "DATABASE_ERROR", message: "An object is not in the state that this needs", quotable: true },
  "57": { code: "DATABASE_UNREACHABLE", message: "The database is being operated on" },
  "58": { code: "DATABASE_RESOURCES", message: "The operating system failed the database" },
};

const unreachable = { code: "DATABASE_UNREACHABLE", message: "The database cannot be reached." } as const;
const connectionLost = { code: "DATABASE_UNREACHABLE", message: "The connection to the database was lost." } as const;

const driverCodes: Readonly<Record<string, { readonly code: ErrorCode; readonly message: string }>> = {
  ECONNREFUSED: { ...unreachable, message: "Nobody listens at the address of the database." },
  ENOTFOUND: { ...unreachable, message: "The host name of the database does not resolve." },
  EAI_AGAIN: { ...unreachable, message: "The host name of the database does not resolve at the moment." },
  EAI_FAIL: { ...unreachable, message: "The host name of the database does not resolve." },
  ETIMEDOUT: unreachable,
  EHOSTUNREACH: unreachable,
  EHOSTDOWN: unreachable,
  ENETUNREACH: unreachable,
  ENETDOWN: unreachable,
  EADDRNOTAVAIL: unreachable,
  ENOENT: { ...unreachable, message: "The socket of the database does not exist." },
  EACCES: { ...unreachable, message: "The socket of the database may not be opened." },
  ERR_SOCKET_CONNECTION_TIMEOUT: unreachable,
  CONNECT_TIMEOUT: { ...unreachable, message: "The database did not answer in time." },
  ECONNRESET: connectionLost,
  ECONNABORTED: connectionLost,
  EPIPE: connectionLost,
  ERR_STREAM_DESTROYED: connectionLost,
  ERR_STREAM_PREMATURE_CLOSE: connectionLost,
  CONNECTION_CLOSED: connectionLost,
  CONNECTION_DESTROYED: { code: "CLOSED", message: "The connection to the database was closed here." },
  CONNECTION_ENDED: { code: "CLOSED", message: "The connection to the database was closed here." },
  // Retryable, although it could be an impostor who will never know: a connection that was cut in the middle of proving it
  // looks the same to the driver, and trying again gives nothing away.
  SASL_SIGNATURE_MISMATCH: {
    ...unreachable,
    message: "The server did not prove that it knows the password, and the connection was given up.",
  },
  AUTH_TYPE_NOT_IMPLEMENTED: {
    code: "DATABASE_AUTHENTICATION",
    message: "The server asks for a kind of authentication that the driver lacks.",
  },
  UNDEFINED_VALUE: { code: "INTERNAL", message: "A parameter of a statement is undefined." },
  NOT_TAGGED_CALL: { code: "INTERNAL", message: "A statement was not called as a tagged template." },
  UNSAFE_TRANSACTION: { code: "INTERNAL", message: "A transaction was begun on a pooled connection." },
  COPY_IN_PROGRESS: { code: "INTERNAL", message: "A statement was sent during a copy." },
  MAX_PARAMETERS_EXCEEDED: { code: "INTERNAL", message: "A statement has too many parameters." },
};
