import { connect, Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type postgres from "postgres";

/** How long one host gets to accept a connection before the next is tried, where there are several. */
const connectMs = 3_000;
/** A connection that ends sooner was not what was wanted: a server that starts, stops, or only reads. */
const soonMs = 2_000;
/** How long to wait after none of the hosts was what was wanted. */
const pauseMs = 250;

/** Where a server may be. */
export interface Host {
  readonly host: string;
  readonly port: number;
}

/** The hosts of a URL (`postgres://a:5432,b:5433/shop` has two), and the URL with the first of them alone. */
export function hostsOf(url: string): { readonly hosts: readonly Host[]; readonly first: string } {
  const [, before = "", list = "", after = ""] = /^(\w+:\/\/(?:[^@/?]*@)?)([^/?]*)(.*)$/s.exec(url) ?? [];
  const [first = "", ...others] = list.split(",");
  if (others.length === 0) return { hosts: [], first: url };
  const hosts = [first, ...others].map((text) => {
    const [, host = "", port = "5432"] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(text) ?? [];
    return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
  });
  return { hosts, first: before + first + after };
}

/**
 * What makes a client of postgres.js go by several hosts: each connection goes to the first that takes it and is no standby, beginning
 * with the one that did so last. When none does, a call fails as with one host, and the next tries again.
 *
 * The driver goes by several hosts itself, but when none of them answers it tries on and on without a pause and never says so,
 * and it takes a standby for a server that writes.
 */
export function acrossHosts(hosts: readonly Host[]): postgres.Options<Record<string, never>> {
  if (hosts.length === 0) return {};
  let current = 0;
  let endedSoon = 0;
  let opened: { readonly socket: Socket; readonly index: number; readonly at: number }[] = [];
  const goOnFrom = (index: number) => {
    if (current === index) current = (index + 1) % hosts.length;
  };
  /** (The driver takes all listeners off a connection that it encrypts, so they are looked at instead.) */
  const lookBack = () => {
    const soon = opened.filter(({ socket, at }) => socket.destroyed && performance.now() - at < soonMs);
    for (const { index } of soon) goOnFrom(index);
    endedSoon = soon.length === 0 ? 0 : endedSoon + soon.length;
    opened = opened.filter(({ socket, at }) => !socket.destroyed && performance.now() - at < soonMs);
  };
  const socket = async (): Promise<Socket> => {
    lookBack();
    if (endedSoon >= hosts.length) await wait(pauseMs);
    let failure: unknown;
    for (let tried = 0; tried < hosts.length; tried += 1) {
      const index = current;
      try {
        const found = await open(hosts[index] as Host);
        opened.push({ socket: found, index, at: performance.now() });
        return found;
      } catch (error) {
        failure = error;
        goOnFrom(index);
      }
    }
    return failed(failure as Error);
  };
  // Not in the driver's types; its documentation has it.
  return { target_session_attrs: "primary", ...({ socket } as object) };
}

function open({ host, port }: Host): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const late = setTimeout(() => {
      socket.destroy(Object.assign(new Error(`${host}:${port} did not answer`), { code: "CONNECT_TIMEOUT" }));
    }, connectMs);
    socket.once("error", (error) => {
      clearTimeout(late);
      reject(error);
    });
    socket.once("connect", () => {
      clearTimeout(late);
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
