import type { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import {
  applicationNameOf,
  backendPidOf,
  type Frame,
  FrameSplitter,
  failing,
  parsedBy,
  StatementTracker,
} from "./postgres-frames.ts";
import type { Faults } from "./proxy-faults.ts";

/** Messages that run nothing by themselves: Parse, Bind, Describe, Close. */
const preparing: ReadonlySet<string> = new Set(["P", "B", "D", "C"]);

/** One client of a proxy with its connection to the server. */
export class ProxiedConnection {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #faults: Faults;
  readonly #onClosed: () => void;
  readonly #fromClient = new FrameSplitter("client");
  readonly #fromServer = new FrameSplitter("server");
  readonly #statements = new StatementTracker();
  /** What arrives while frozen, in order. */
  readonly #frozen: (() => void)[] = [];
  /** What is delayed, in order: a delay that ends, or becomes shorter, lets nothing pass what came before. */
  readonly #delayed: { readonly dueMs: number; readonly action: () => void }[] = [];
  /** What prepares a statement that is still to come: it goes along with that. */
  readonly #preparing: Frame[] = [];
  /** Set while a statement is held: what the client says after it. */
  #held: Frame[] | undefined;
  /** Requests the server owes an answer to end with ReadyForQuery; the greeting ends with one, too. */
  #requests = 1;
  #answers = 0;
  /** Answers with this number and above do not arrive. */
  #swallowFrom = Number.POSITIVE_INFINITY;
  #onSwallowed: (() => void) | undefined;
  #isSilent = false;
  #backendPid = 0;
  #closed = false;
  /** What the client calls itself. */
  applicationName = "";

  constructor(client: Socket, host: string, port: number, faults: Faults, onClosed: () => void) {
    this.#client = client;
    this.#faults = faults;
    this.#onClosed = onClosed;
    this.#server = connect({ host, port });
    for (const socket of [this.#client, this.#server]) {
      socket.setNoDelay(true);
      // The reason does not matter: the other side hears of the end.
      socket.on("error", () => undefined);
    }
    this.#client.on("data", (chunk: Buffer) => this.#pass(() => this.#clientSaid(chunk)));
    this.#server.on("data", (chunk: Buffer) => this.#pass(() => this.#serverSaid(chunk)));
    this.#client.on("close", () => this.#pass(() => this.cut()));
    this.#server.on("close", () => this.#pass(() => this.#endClient()));
  }

  /** Ends both sides at once. */
  cut(): void {
    this.#client.resetAndDestroy();
    this.#server.destroy();
    this.#close();
  }

  /** From now on nothing arrives at either side. */
  silence(): void {
    this.#isSilent = true;
  }

  /** Delivers what a freeze has kept. */
  thaw(): void {
    for (const action of this.#frozen.splice(0)) action();
  }

  /** Lets something happen, as the network is at the moment. */
  #pass(action: () => void): void {
    if (this.#isSilent || this.#faults.mode === "black-hole") return;
    if (this.#faults.mode === "freeze") this.#frozen.push(action);
    else if (this.#faults.delayMs > 0 || this.#delayed.length > 0) this.#delay(action);
    else action();
  }

  #delay(action: () => void): void {
    this.#delayed.push({ dueMs: performance.now() + this.#faults.delayMs, action });
    if (this.#delayed.length === 1) this.#deliverDelayed();
  }

  #deliverDelayed(): void {
    const first = this.#delayed[0];
    if (first === undefined) return;
    setTimeout(
      () => {
        first.action();
        this.#delayed.shift();
        this.#deliverDelayed();
      },
      Math.max(0, first.dueMs - performance.now()),
    );
  }

  #clientSaid(chunk: Buffer): void {
    for (const frame of this.#fromClient.push(chunk)) {
      if (this.#held !== undefined) this.#held.push(frame);
      else this.#toServer(frame);
    }
  }

  #toServer(frame: Frame): void {
    if (this.#isSilent) return;
    this.applicationName = applicationNameOf(frame) ?? this.applicationName;
    const statement = this.#statements.statementOf(frame);
    if (preparing.has(frame.type)) {
      this.#preparing.push(frame);
      return;
    }
    const before = this.#preparing.splice(0);
    // Prepared by itself, to be run once the server has described it: caught here, the server has heard nothing of it yet.
    const described = frame.type === "H" ? parsedBy(before) : undefined;
    const { hold, observe } = this.#faults;
    if (statement !== undefined) observe?.(statement);
    const caught = statement ?? described;
    if (caught !== undefined && hold?.match(caught)) {
      this.#faults.hold = undefined;
      this.#held = [];
      const isRun = statement !== undefined;
      hold.onHeld({
        statement: caught,
        backendPid: this.#backendPid,
        release: () => this.#release([...before, frame]),
        releaseUnanswered: () => {
          if (!isRun) this.#faults.swallow = { match: (said) => said === caught, onSwallowed: () => undefined };
          this.#release([...before, frame], isRun);
        },
        fail: (sqlState) => {
          const failed = failing(frame.type, caught, sqlState);
          this.#release(isRun ? [...before, ...failed] : [...failed, frame]);
        },
        cut: () => this.cut(),
      });
      return;
    }
    const { swallow, silence } = this.#faults;
    const isSwallowed = statement !== undefined && swallow?.match(statement) === true;
    if (isSwallowed) {
      this.#faults.swallow = undefined;
      this.#onSwallowed = swallow?.onSwallowed;
    }
    for (const one of before) this.#say(one);
    this.#say(frame, isSwallowed);
    if (statement !== undefined && silence?.match(statement)) {
      this.#faults.silence = undefined;
      this.silence();
      silence.onSilent();
    }
  }

  /** @param isSwallowed its answer is not to arrive */
  #say(frame: Frame, isSwallowed = false): void {
    if (frame.type === "Q" || frame.type === "S") this.#requests += 1;
    // An Execute is answered as part of the request that its Sync ends, which is still to come.
    if (isSwallowed) this.#swallowFrom = frame.type === "E" ? this.#requests + 1 : this.#requests;
    this.#server.write(frame.bytes);
  }

  /** Sends these in place of the statement that is held, and what came after it. */
  #release(frames: readonly Frame[], isSwallowed = false): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    if (this.#closed) return;
    for (const frame of frames) this.#say(frame, isSwallowed && frame === frames.at(-1));
    for (const later of held) {
      if (this.#held !== undefined) (this.#held as Frame[]).push(later);
      else this.#toServer(later);
    }
  }

  #serverSaid(chunk: Buffer): void {
    for (const frame of this.#fromServer.push(chunk)) {
      const answer = this.#answers + 1;
      if (frame.type === "Z") this.#answers = answer;
      if (frame.type === "K") this.#backendPid = backendPidOf(frame);
      if (answer >= this.#swallowFrom) {
        if (frame.type === "Z") this.#reset();
      } else if (frame.type === "A" && this.#faults.dropNotifications) {
        this.#faults.droppedNotifications += 1;
      } else {
        this.#toClient(frame);
      }
    }
  }

  #toClient({ bytes }: Frame): void {
    const { cutAfterBytes } = this.#faults;
    if (cutAfterBytes === undefined) {
      this.#write(bytes);
    } else if (bytes.length < cutAfterBytes) {
      this.#faults.cutAfterBytes = cutAfterBytes - bytes.length;
      this.#write(bytes);
    } else {
      this.#faults.cutAfterBytes = undefined;
      this.#client.write(bytes.subarray(0, cutAfterBytes), () => this.cut());
    }
  }

  #write(bytes: Buffer): void {
    const size = this.#faults.sliceBytes ?? bytes.length;
    for (let from = 0; from < bytes.length; from += size) this.#client.write(bytes.subarray(from, from + size));
  }

  /** The server has done what it was told: now the answer is lost. */
  #reset(): void {
    this.cut();
    this.#onSwallowed?.();
    this.#onSwallowed = undefined;
  }

  #endClient(): void {
    this.#client.end();
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClosed();
  }
}
