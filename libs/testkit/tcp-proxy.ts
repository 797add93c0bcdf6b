import { createServer, type Socket } from "node:net";
import { ProxiedConnection } from "./proxied-connection.ts";
import type { Faults, HeldStatement, StatementMatch } from "./proxy-faults.ts";

/** A network between a client and Postgres that fails on demand. Everything it does holds for all of its connections. */
export interface FaultyProxy {
  /** The server's URL by way of the proxy. */
  readonly url: string;
  /** Connections that are open at the moment. */
  readonly connections: number;
  /** Notifications that were dropped so far. */
  readonly droppedNotifications: number;
  /** While true, the server's notifications do not arrive. */
  dropNotifications: boolean;
  /** How long every piece takes on its way, in milliseconds; default 0. */
  delayMs: number;
  /** While true, new connections are reset at once. */
  refuse: boolean;
  /** Told of every statement before the server gets it. */
  observe: ((statement: string) => void) | undefined;
  /** While set, what the server says arrives in pieces of at most this many bytes. */
  sliceBytes: number | undefined;
  /** Ends all connections at once, both ways, with a reset. New ones are served. */
  cutAll(): void;
  /** Ends the connection that carries it after this many further bytes from the server, in the middle of a message. */
  cutAfterBytes(bytes: number): void;
  /**
   * From now on nothing arrives anywhere and nothing is refused; what is sent meanwhile is lost. To end it, {@link thaw} and then
   * {@link cutAll}: connections that have lost something are of no use.
   */
  blackHole(): void;
  /**
   * The connections that are open now, of clients with such a name, are half-open from now on: nothing arrives, and nothing is refused, not
   * even when the other side ends. New ones are served. Gives how many they are.
   */
  silence(isMeant?: (applicationName: string) => boolean): number;
  /** The connection of the next statement that matches is half-open as soon as the server has got it: even its end is lost. */
  silenceAt(match: StatementMatch): Promise<void>;
  /** From now on nothing arrives anywhere, not even the end of a connection: both sides look frozen to each other. */
  freeze(): void;
  /** Ends a freeze: everything arrives, late and in order. Ends a black hole: what is sent from now on arrives. */
  thaw(): void;
  /**
   * The next statement that matches is done by the server, but its answer does not arrive: the connection is reset
   * instead. Resolves once that has happened.
   */
  swallowAnswer(match: StatementMatch): Promise<void>;
  /** Catches the next statement that matches before the server gets it. */
  hold(match: StatementMatch): Promise<HeldStatement>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a {@link FaultyProxy} in front of the server of a URL. */
export async function startProxy(targetUrl: string): Promise<FaultyProxy> {
  const target = new URL(targetUrl);
  const [host, port] = [target.hostname, Number(target.port || 5432)];
  const open = new Set<ProxiedConnection>();
  const faults: Faults = {
    dropNotifications: false,
    droppedNotifications: 0,
    delayMs: 0,
    refuse: false,
    observe: undefined,
    sliceBytes: undefined,
    mode: "pass",
    cutAfterBytes: undefined,
    swallow: undefined,
    hold: undefined,
    silence: undefined,
  };
  const server = createServer((client: Socket) => {
    if (faults.refuse) {
      client.resetAndDestroy();
      return;
    }
    const connection = new ProxiedConnection(client, host, port, faults, () => open.delete(connection));
    open.add(connection);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  target.hostname = "127.0.0.1";
  target.port = String(address.port);
  const cutAll = () => {
    for (const connection of [...open]) connection.cut();
  };
  return {
    url: target.href,
    get connections() {
      return open.size;
    },
    get droppedNotifications() {
      return faults.droppedNotifications;
    },
    get dropNotifications() {
      return faults.dropNotifications;
    },
    set dropNotifications(drop: boolean) {
      faults.dropNotifications = drop;
    },
    get delayMs() {
      return faults.delayMs;
    },
    set delayMs(delayMs: number) {
      faults.delayMs = delayMs;
    },
    get refuse() {
      return faults.refuse;
    },
    set refuse(refuse: boolean) {
      faults.refuse = refuse;
    },
    get observe() {
      return faults.observe;
    },
    set observe(observe: FaultyProxy["observe"]) {
      faults.observe = observe;
    },
    get sliceBytes() {
      return faults.sliceBytes;
    },
    set sliceBytes(bytes: number | undefined) {
      faults.sliceBytes = bytes;
    },
    cutAll,
    cutAfterBytes(bytes) {
      faults.cutAfterBytes = bytes;
    },
    blackHole() {
      faults.mode = "black-hole";
    },
    silence(isMeant = () => true) {
      const meant = [...open].filter(({ applicationName }) => isMeant(applicationName));
      for (const connection of meant) connection.silence();
      return meant.length;
    },
    silenceAt(match) {
      return new Promise((resolve) => {
        faults.silence = { match, onSilent: resolve };
      });
    },
    freeze() {
      faults.mode = "freeze";
    },
    thaw() {
      faults.mode = "pass";
      for (const connection of [...open]) connection.thaw();
    },
    swallowAnswer(match) {
      return new Promise((resolve) => {
        faults.swallow = { match, onSwallowed: resolve };
      });
    },
    hold(match) {
      return new Promise((resolve) => {
        faults.hold = { match, onHeld: resolve };
      });
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cutAll();
      await closed;
    },
  };
}
