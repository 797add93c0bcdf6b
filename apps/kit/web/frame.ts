import { readFileSync } from "node:fs";
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { secureHeaders } from "hono/secure-headers";
import type { Logger } from "sluice";
import { sameOriginOnly } from "./same-origin.ts";

/** What the web side of an app begins with. */
export interface WebFrameOptions {
  readonly logger: Logger;
  /** The largest request body; default 16 KiB. */
  readonly maxBodyBytes?: number;
  /** Fails when the app cannot do its work; `/health` answers 503 then. */
  readonly checkHealth: () => Promise<unknown>;
}

const types: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** Serves one file of the app's own, read once, at this path: a script, a style, a picture. */
export function serveFile(web: Hono, path: string, file: URL): void {
  const content = readFileSync(file, "utf8");
  const type = types[path.split(".").at(-1) ?? ""] ?? "text/plain; charset=utf-8";
  web.get(path, (c) => c.body(content, 200, { "content-type": type, "cache-control": "no-cache" }));
}

/**
 * A Hono with what every app needs: strict headers, no changes from other sites' pages, a limit on bodies, `/health`, the
 * kit's style and scripts, and answers to failures that never hold the text of an internal error.
 */
export function webFrame(options: WebFrameOptions): Hono {
  const web = new Hono();
  web.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'self'"],
        imgSrc: ["'self'", "data:", "blob:"],
        frameAncestors: ["'none'"],
        formAction: ["'self'"],
      },
      // With "no-referrer", the default, a browser says of a plain form's origin only that it is "null".
      referrerPolicy: "same-origin",
      // Another origin would be upgraded for ever, and this server speaks plain HTTP behind whatever ends TLS.
      strictTransportSecurity: false,
    }),
  );
  web.use(sameOriginOnly);
  web.use(
    bodyLimit({
      maxSize: options.maxBodyBytes ?? 16_384,
      onError: (c) => c.json({ error: "the request is too large" }, 413),
    }),
  );
  web.get("/health", async (c) => {
    await options.checkHealth();
    return c.json({ status: "ok" });
  });
  for (const name of ["style.css", "picture.css", "picture.js", "scenarios.js"]) {
    serveFile(web, `/kit/${name}`, new URL(`../page/${name}`, import.meta.url));
  }
  web.notFound((c) => c.json({ error: "there is nothing at this address" }, 404));
  web.onError((error, c) => {
    options.logger.log("error", "a request failed", { path: c.req.path, error });
    return c.json({ error: "this did not work; please try again" }, c.req.path === "/health" ? 503 : 500);
  });
  return web;
}
