import type { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { applicationNameOf, type Frame, FrameSplitter, StatementTracker } from "./postgres-frames.ts";
import type { Faults } from "./tcp-proxy.ts";

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
  /** Set while a statement is held: it and what the client says after it. */
  #held: Frame[] | undefined;
  /** Requests the server owes an answer to end with ReadyForQuery; the greeting ends with one, too. */
  #requests = 1;
  #answers = 0;
  /** Answers with this number and above do not arrive. */
  #swallowFrom = Number.POSITIVE_INFINITY;
  #onSwallowed: (() => void) | undefined;
  #isSilent = false;
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
    const { hold, swallow, silence } = this.#faults;
    if (statement !== undefined && hold?.match(statement)) {
      this.#faults.hold = undefined;
      this.#held = [];
      hold.onHeld({ statement, release: () => this.#release(frame) });
      return;
    }
    if (frame.type === "Q" || frame.type === "S") this.#requests += 1;
    if (statement !== undefined && swallow?.match(statement)) {
      this.#faults.swallow = undefined;
      // An Execute is answered as part of the request that its Sync ends, which is still to come.
      this.#swallowFrom = frame.type === "E" ? this.#requests + 1 : this.#requests;
      this.#onSwallowed = swallow.onSwallowed;
    }
    this.#server.write(frame.bytes);
    if (statement !== undefined && silence?.match(statement)) {
      this.#faults.silence = undefined;
      this.silence();
      silence.onSilent();
    }
  }

  #release(frame: Frame): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    if (this.#closed) return;
    this.#toServer(frame);
    for (const later of held) {
      if (this.#held !== undefined) (this.#held as Frame[]).push(later);
      else this.#toServer(later);
    }
  }

  #serverSaid(chunk: Buffer): void {
    for (const frame of this.#fromServer.push(chunk)) {
      const answer = this.#answers + 1;
      if (frame.type === "Z") this.#answers = answer;
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
