import { connect, Socket } from "node:net";
import postgres from "postgres";
import { withDeadline } from "./deadline.ts";

/** How long one host gets to answer before the next is tried, where there are several. */
const answerSeconds = 3;
/** For how long an answer counts: connections are opened together, and are not to ask one by one. */
const believedMs = 1_000;

/** Where a server may be. */
export interface Host {
  readonly host: string;
  readonly port: number;
  /** The whole URL, with this host alone. */
  readonly url: string;
}

/** The hosts of a URL (`postgres://a:5432,b:5433/shop` has two) where there are several, each with its own URL; and the URL of the first. */
export function hostsOf(url: string): { readonly hosts: readonly Host[]; readonly first: string } {
  const [, before = "", list = "", after = ""] = /^(\w+:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(url) ?? [];
  const [first = "", ...others] = list.split(",");
  if (others.length === 0) return { hosts: [], first: url };
  const hosts = [first, ...others].map((text) => {
    const [, host = "", port = "5432"] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(text) ?? [];
    return { host: host.replace(/^\[|\]$/g, ""), port: Number(port), url: before + text + after };
  });
  return { hosts, first: before + first + after };
}

/**
 * What makes a client of postgres.js go by several hosts: each connection goes to the first that answers and is no standby, beginning
 * with the one that did so last. When none does, a call fails as with one host, and the next looks again.
 *
 * The driver goes by several hosts itself, but when none of them answers it tries on and on without a pause and never says so,
 * takes a standby for a server that writes, and fails the call whose connection it thought better of.
 */
export function acrossHosts(hosts: readonly Host[]): postgres.Options<Record<string, never>> {
  if (hosts.length === 0) return {};
  let current = 0;
  let believedUntil = 0;
  let looking: Promise<void> | undefined;
  const look = async () => {
    let failure: unknown;
    for (const [index] of hosts.entries()) {
      const next = (current + index) % hosts.length;
      try {
        await expectWriter((hosts[next] as Host).url);
        current = next;
        believedUntil = performance.now() + believedMs;
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
  const lookTogether = () => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
    return looking;
  };
  const socket = async (): Promise<Socket> => {
    try {
      if (performance.now() > believedUntil) await lookTogether();
      const opened = open(hosts[current] as Host);
      // What was believed may be over by now. (A connection that fails makes the driver wait before it tries another.)
      return await opened.catch(() => lookTogether().then(() => open(hosts[current] as Host)));
    } catch (error) {
      believedUntil = 0;
      return failed(error as Error);
    }
  };
  // Not in the driver's types; its documentation has it.
  return { socket } as object;
}

/** Fails when the server of this URL does not answer, or only reads. */
async function expectWriter(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, fetch_types: false, connect_timeout: answerSeconds, onnotice: () => undefined });
  try {
    const asked = sql<{ standby: boolean }[]>`select pg_is_in_recovery() as standby`;
    const [row] = await withDeadline(asked, answerSeconds * 1_000, "looking for the server that writes");
    if (row?.standby !== false) throw Object.assign(new Error("the server is a standby"), { code: "ECONNREFUSED" });
  } finally {
    // Nobody waits for the goodbye of a server that may say nothing.
    void sql.end({ timeout: 1 });
  }
}

function open({ host, port }: Host): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.setTimeout(answerSeconds * 1_000, () =>
      socket.destroy(Object.assign(new Error(`${host}:${port} did not answer`), { code: "CONNECT_TIMEOUT" })),
    );
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.removeAllListeners("timeout");
      socket.removeAllListeners("error");
      // The driver asks it for the name that a certificate must have.
      resolve(Object.assign(socket, { host, port }));
    });
  });
}

/** A connection that fails as soon as the driver listens to it: one that is never made would be waited for for ever. */
function failed(error: Error): Socket {
  const socket = new Socket();
  setImmediate(() => socket.destroy(error));
  return socket;
}
