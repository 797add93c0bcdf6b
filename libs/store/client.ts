import { SluiceError } from "@sluice/kernel";
import postgres from "postgres";
import { acrossHosts, hostsOf } from "./hosts.ts";

/**
 * How soon a server that is told this at connecting notices that its client's host is gone: it asks after five seconds of silence, and what
 * it sent is acknowledged within ten. Only the server itself is told: poolers refuse settings that they do not know.
 */
export const keepAlive = {
  tcp_keepalives_idle: 5,
  tcp_keepalives_interval: 2,
  tcp_keepalives_count: 3,
  tcp_user_timeout: 10_000,
} as const;

/** Whether a client can be made of it. */
export function isDatabaseUrl(url: string): boolean {
  return /^postgres(ql)?:\/\//.test(url) && URL.canParse(hostsOf(url).first);
}

/**
 * A postgres.js client as Sluice wants it: no type look-up at connect (nothing here needs it), notices dropped, a bounded
 * wait for the connection; of several hosts in the URL the one that writes. A URL that does not parse is INVALID_OPTIONS.
 */
export function connectClient(url: string, options: postgres.Options<Record<string, never>>): postgres.Sql {
  const { hosts, first } = hostsOf(url);
  if (!isDatabaseUrl(url)) {
    throw new SluiceError(
      "INVALID_OPTIONS",
      "the database's URL is not one such as postgres://user:password@host:5432/database",
    );
  }
  return postgres(first, {
    fetch_types: false,
    connect_timeout: 10,
    idle_timeout: 0,
    max_lifetime: null,
    onnotice: () => undefined,
    ...acrossHosts(hosts),
    ...options,
  }) as postgres.Sql;
}
