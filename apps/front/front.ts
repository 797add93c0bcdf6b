import {
  keepProcesses,
  type MainContext,
  openFrame,
  type Processes,
  type RunningApp,
  serveFile,
} from "@sluice/app-kit";
import type { Context } from "hono";
import { type SampleApp, sampleApps } from "./apps.ts";
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
  const frame = await openFrame({
    name: "front",
    databaseUrl,
    topics: apps.flatMap(({ topics }) => topics),
    otherTopics: true,
    brand: "samples",
    links: [],
    logger,
  });
  starting.defer(() => frame.close());

  process.stdout.write(`starting ${apps.map((app) => app.name).join(", ")} …\n`);
  const children = apps.map((app) => ({ app, kept: keepProcesses({ ...app, onEnd: () => sayEnd(app) }) }));
  const endAll = () => Promise.all(children.map(({ kept }) => kept.close()));
  starting.defer(async () => void (await endAll()));
  // What is still being started ends at once.
  stop.addEventListener("abort", endAll, { once: true });
  const variables = { DATABASE_URL: databaseUrl, HOST: host };
  const begun = await Promise.allSettled(children.map(({ kept }) => kept.set(1, variables)));
  const failure = begun.find((one) => one.status === "rejected");
  if (failure !== undefined) throw failure.reason;

  const childOf = (name: string | undefined) => children.find(({ app }) => app.name === name)?.kept;
  frame.web.get("/", (c) => {
    const samples = children.map(({ app, kept }) => ({ ...app, address: addressFor(c, kept.url) }));
    return c.html(frame.page("Samples", "/", frontContent(samples)));
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
    notes: children.map(({ app, kept }) => `${app.name.padEnd(15)} ${kept.url}/`),
    liveLine: () => frame.picture.line(),
    close: () => parts.disposeAsync(),
  };
}

function sayEnd({ name }: SampleApp): void {
  process.stderr.write(`front: ${name} has ended and is started again\n`);
}

/** The app's own page, by the name under which this one was reached. */
function addressFor(c: Context, url: string): string {
  const address = new URL(url);
  address.hostname = new URL(c.req.url).hostname;
  return address.href;
}

/** Asks the app itself, and answers as it does. */
async function passOn(c: Context, child: Processes | undefined, path: string): Promise<Response> {
  if (child === undefined) return c.json({ error: "there is no such app" }, 404);
  try {
    const answer = await fetch(child.url + path, { method: c.req.method, signal: AbortSignal.timeout(10_000) });
    const headers = { "content-type": answer.headers.get("content-type") ?? "text/plain", "cache-control": "no-store" };
    return new Response(await answer.text(), { status: answer.status, headers });
  } catch {
    // Whatever keeps it from answering: it has ended and is started again, it hangs.
    return c.json({ error: "the app does not answer" }, 502);
  }
}
