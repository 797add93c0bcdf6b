import { type MainContext, openFrame, type RunningApp, serveFile } from "@sluice/app-kit";
import type { Context } from "hono";
import { type SampleApp, sampleApps } from "./apps.ts";
import { type Child, startChild } from "./child.ts";
import { frontContent } from "./page.ts";

/**
 * Starts the sample apps, each as a process of its own over the one database, and the front page. Closing drains them all.
 *
 * Fails with {@link StartError} when one of them does not start, after ending the others.
 */
export async function startFront(
  context: MainContext<unknown>,
  apps: readonly SampleApp[] = sampleApps,
): Promise<RunningApp> {
  const { databaseUrl, host, port, stop, logger } = context;
  await using starting = new AsyncDisposableStack();
  const frame = await openFrame({ name: "front", databaseUrl, brand: "samples", links: [], logger });
  starting.defer(() => frame.close());

  process.stdout.write(`starting ${apps.map((app) => app.name).join(", ")} …\n`);
  const begun = await Promise.allSettled(apps.map((app) => startChild(app, { databaseUrl, host, stop })));
  const children = begun.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  starting.defer(async () => {
    await Promise.all(children.map((child) => child.close()));
  });
  const failure = begun.find((one) => one.status === "rejected");
  if (failure !== undefined) throw failure.reason;

  const childOf = (name: string | undefined) => children.find((child) => child.app.name === name);
  frame.web.get("/", (c) => {
    const content = frontContent(apps, (app) => addressFor(c, childOf(app.name)));
    return c.html(frame.page("Samples", "/", content));
  });
  serveFile(frame.web, "/front.css", new URL("./front.css", import.meta.url));
  frame.web.get("/apps/:name/scenarios", (c) => passOn(c, childOf(c.req.param("name")), "/scenarios"));
  frame.web.post("/apps/:name/scenarios/:scenario", (c) => {
    const path = `/scenarios/${encodeURIComponent(c.req.param("scenario"))}`;
    return passOn(c, childOf(c.req.param("name")), path);
  });
  const listening = frame.listen({ host, port, scenarios: [] });
  starting.defer(() => listening.close());

  const parts = starting.move();
  return {
    ...listening,
    notes: children.map(({ app, url }) => `${app.name.padEnd(15)} ${url}/`),
    liveLine: () => frame.picture.line(),
    close: () => parts.disposeAsync(),
  };
}

/** The app's own page, by the name under which this one was reached. */
function addressFor(c: Context, child: Child | undefined): string | undefined {
  if (child?.url === undefined) return undefined;
  const address = new URL(child.url);
  address.hostname = new URL(c.req.url).hostname;
  return address.href;
}

/** Asks the app itself, and answers as it does. */
async function passOn(c: Context, child: Child | undefined, path: string): Promise<Response> {
  if (child === undefined) return c.json({ error: "there is no such app" }, 404);
  if (child.url === undefined) return c.json({ error: "the app is being started again" }, 503);
  try {
    const answer = await fetch(child.url + path, { method: c.req.method, signal: AbortSignal.timeout(10_000) });
    const headers = { "content-type": answer.headers.get("content-type") ?? "text/plain", "cache-control": "no-store" };
    return new Response(await answer.text(), { status: answer.status, headers });
  } catch {
    // Whatever keeps it from answering: it has ended, it hangs. Its supervision is another matter.
    return c.json({ error: "the app does not answer" }, 502);
  }
}
