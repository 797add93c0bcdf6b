import type { MiddlewareHandler } from "hono";

/**
 * Refuses, with 403, whatever changes something and comes from another site's page, for every content type.
 *
 * Browsers send `Origin` with each such request. What sends none is no browser, and has no user whose session it could
 * abuse. Hosts are compared and schemes are not: behind a proxy that ends TLS, only the proxy knows the scheme.
 */
export const sameOriginOnly: MiddlewareHandler = async (c, next) => {
  if (c.req.method !== "GET" && c.req.method !== "HEAD") {
    const origin = c.req.header("origin");
    if (origin !== undefined && hostOf(origin) !== c.req.header("host")) {
      return c.json({ error: "this request comes from another site" }, 403);
    }
  }
  return next();
};

function hostOf(origin: string): string | undefined {
  // "null" is what sandboxed and local pages send.
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
