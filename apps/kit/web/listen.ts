import { StartError } from "../start-error.ts";

/** An app's own web server. */
export interface WebServer {
  readonly url: string;
  /** Takes no new connection, waits up to two seconds for what is being answered, then cuts the rest off. */
  close(): Promise<void>;
}

/** Where {@link listen} listens. */
export interface ListenOptions {
  readonly host: string;
  /** Undefined: 3000 if that is free, else any free one; 0: any free one. */
  readonly port: number | undefined;
}

/** Beyond this a connection is cut without a word; up to it, the frame refuses what is too large in words, mostly without reading it. */
const cutAtBytes = 256 * 1_024 * 1_024;

/**
 * Serves.
 *
 * Fails with {@link StartError} when the host is none of this machine, or the port that was asked for is taken or may not be used.
 */
export function listen(options: ListenOptions, fetch: (request: Request) => Response | Promise<Response>): WebServer {
  const { host, port } = options;
  const serve = (wanted: number) => Bun.serve({ port: wanted, hostname: host, fetch, maxRequestBodySize: cutAtBytes });
  const server = port === undefined ? serveAtFreePort(host, serve) : serveAt(host, port, serve);
  return {
    url: `http://${reachedAt(host)}:${server.port}`,
    async close() {
      const cut = setTimeout(() => server.stop(true), 2_000);
      await server.stop();
      clearTimeout(cut);
    },
  };
}

type Serve = (port: number) => ReturnType<typeof Bun.serve>;

/** Where whoever is on this machine finds it. */
function reachedAt(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

function serveAt(host: string, port: number, serve: Serve): ReturnType<Serve> {
  try {
    return serve(port);
  } catch (error) {
    const problem = isTaken(error)
      ? `port ${port} is taken by another program; set PORT to another one, or leave it unset`
      : `port ${port} of ${host} cannot be used (${(error as Error).message}); set PORT to another one, and HOST to an address of this machine`;
    throw new StartError(problem, 69, { cause: error });
  }
}

function serveAtFreePort(host: string, serve: Serve): ReturnType<Serve> {
  try {
    return serve(3_000);
  } catch (error) {
    if (isTaken(error)) return serve(0);
    const reason = `HOST ${JSON.stringify(host)} cannot be listened on (${(error as Error).message})`;
    throw new StartError(`${reason}; set it to an address of this machine, or leave it unset`, 64, { cause: error });
  }
}

function isTaken(error: unknown): boolean {
  return (error as { code?: unknown }).code === "EADDRINUSE";
}
