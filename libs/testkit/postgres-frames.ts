import { Buffer } from "node:buffer";

/** One message of the Postgres protocol, whole. */
export interface Frame {
  /** The type's letter; empty for what a client sends before it has one (startup, cancel). */
  readonly type: string;
  readonly bytes: Buffer;
}

/** Cuts one direction of a connection into messages, whatever pieces the network makes of it. */
export class FrameSplitter {
  #rest: Buffer = Buffer.alloc(0);
  #isTyped: boolean;

  /** @param from a client's first message has no type letter */
  constructor(from: "client" | "server") {
    this.#isTyped = from === "server";
  }

  /** The messages that are complete with these bytes. */
  push(chunk: Uint8Array): Frame[] {
    this.#rest = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      const head = this.#isTyped ? 1 : 0;
      if (this.#rest.length < head + 4) return frames;
      const size = head + this.#rest.readUInt32BE(head);
      if (this.#rest.length < size) return frames;
      const bytes = this.#rest.subarray(0, size);
      frames.push({ type: this.#isTyped ? String.fromCharCode(bytes[0] as number) : "", bytes });
      this.#rest = this.#rest.subarray(size);
      this.#isTyped = true;
    }
  }
}

/** What a client calls itself in its first message; undefined for any other message. */
export function applicationNameOf({ type, bytes }: Frame): string | undefined {
  if (type !== "") return undefined;
  const settings = bytes.toString("utf8", 8).split("\0");
  const name = settings.indexOf("application_name");
  return name < 0 ? undefined : settings[name + 1];
}

/** Follows what a client says and tells which statement a message runs. */
export class StatementTracker {
  readonly #statements = new Map<string, string>();
  readonly #portals = new Map<string, string>();

  /** The text of the statement that this message runs; `undefined` when it runs none. */
  statementOf(frame: Frame): string | undefined {
    if (frame.type === "Q") return textAt(frame.bytes, 5).text;
    if (frame.type === "P") {
      const name = textAt(frame.bytes, 5);
      this.#statements.set(name.text, textAt(frame.bytes, name.end).text);
    } else if (frame.type === "B") {
      const portal = textAt(frame.bytes, 5);
      this.#portals.set(portal.text, this.#statements.get(textAt(frame.bytes, portal.end).text) ?? "");
    } else if (frame.type === "E") {
      return this.#portals.get(textAt(frame.bytes, 5).text) ?? "";
    }
    return undefined;
  }
}

function textAt(bytes: Buffer, start: number): { readonly text: string; readonly end: number } {
  const end = bytes.indexOf(0, start);
  return { text: bytes.toString("utf8", start, end), end: end + 1 };
}

/** The statement that is parsed by these messages; `undefined` when none is. */
export function parsedBy(frames: readonly Frame[]): string | undefined {
  const frame = frames.find(({ type }) => type === "P");
  return frame === undefined ? undefined : textAt(frame.bytes, textAt(frame.bytes, 5).end).text;
}

/** The server process that a BackendKeyData tells. */
export function backendPidOf({ bytes }: Frame): number {
  return bytes.readUInt32BE(5);
}

/** Statements that end their transaction also when they fail. */
const ending = /^\s*(commit|rollback)\s*;?\s*$/i;

/** What to say to the server in place of a message of this type that runs or describes a statement, so that the server fails there. Nothing else is asked of it. */
export function failing(type: string, statement: string, sqlState: string): Frame[] {
  const fail = `do $$ begin raise exception using errcode = '${sqlState}', message = 'a failpoint'; end $$`;
  const texts = ending.test(statement) ? ["rollback", fail] : [fail];
  if (type === "Q") return [message("Q", zeroEnded(texts.join(";")))];
  return texts.flatMap((text) => [
    message("P", zeroEnded(""), zeroEnded(text), Buffer.alloc(2)),
    message("B", zeroEnded(""), zeroEnded(""), Buffer.alloc(6)),
    message("E", zeroEnded(""), Buffer.alloc(4)),
  ]);
}

function message(type: string, ...parts: readonly Buffer[]): Frame {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeUInt32BE(body.length + 4, 1);
  return { type, bytes: Buffer.concat([head, body]) };
}

function zeroEnded(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
