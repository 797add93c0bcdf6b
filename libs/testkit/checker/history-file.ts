import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import type { Operation, Operations } from "./operation.ts";

const pieceBytes = 1 << 20;
const bufferedCharacters = 1 << 18;

/** A moment that all processes of a machine agree on, whatever is done to `Date`, in milliseconds since 1970. */
export function steadyNow(): number {
  return performance.timeOrigin + performance.now();
}

/** The operations of a file, a line for each; read piece by piece, as often as it is gone through. */
export function readHistory(path: string): Operations {
  return { [Symbol.iterator]: () => operationsOf(path) };
}

function* operationsOf(path: string): Generator<Operation> {
  const file = openSync(path, "r");
  try {
    const piece = new Uint8Array(pieceBytes);
    const decoder = new StringDecoder("utf8");
    let rest = "";
    for (;;) {
      const size = readSync(file, piece, 0, pieceBytes, null);
      // A last line without an end is what a process was writing when it was killed.
      if (size === 0) return;
      const lines = (rest + decoder.write(piece.subarray(0, size))).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "") yield JSON.parse(line) as Operation;
    }
  } finally {
    closeSync(file);
  }
}

/** Writes operations to a file. What was written is there although the process is killed right after. */
export class HistoryWriter {
  readonly #file: number;
  #waiting: string[] = [];
  #flushed: Promise<void> | undefined;

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  /** Resolves once it is written, together with what else is noted in this turn of the event loop. */
  write(operation: Operation): Promise<void> {
    this.#waiting.push(`${JSON.stringify(operation)}\n`);
    this.#flushed ??= new Promise((resolve) => {
      setImmediate(() => {
        this.flush();
        resolve();
      });
    });
    return this.#flushed;
  }

  /** Writes what waits at once. */
  flush(): void {
    const text = this.#waiting.join("");
    this.#waiting = [];
    this.#flushed = undefined;
    if (text !== "") writeSync(this.#file, text);
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }
}

/** Puts the histories of several processes, each in the order of its times, into one file in the order of time. */
export function mergeHistories(paths: readonly string[], into: string): void {
  const file = openSync(into, "w");
  try {
    const sources = paths.map((path) => operationsOf(path));
    const heads = sources.map((source) => source.next());
    let [text, size] = [[] as string[], 0];
    for (;;) {
      let first = -1;
      let time = Number.POSITIVE_INFINITY;
      for (const [index, head] of heads.entries()) {
        if (head.done === true || head.value.time >= time) continue;
        [first, time] = [index, head.value.time];
      }
      const head = heads[first];
      const source = sources[first];
      if (head === undefined || head.done === true || source === undefined) break;
      const line = `${JSON.stringify(head.value)}\n`;
      text.push(line);
      size += line.length;
      if (size > bufferedCharacters) {
        writeSync(file, text.join(""));
        [text, size] = [[], 0];
      }
      heads[first] = source.next();
    }
    writeSync(file, text.join(""));
  } finally {
    closeSync(file);
  }
}
