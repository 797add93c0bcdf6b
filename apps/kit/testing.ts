import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testDatabase } from "@sluice/testkit";
import { chromium, type Page } from "playwright-core";
import { silentLogger } from "sluice";
import type { MainContext, RunningApp } from "./main.ts";

/** How long a test waits for what must happen. */
export const deadlineMs = 15_000;

/** Asks again until `holds`; fails after {@link deadlineMs} with what was waited for. */
export async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const endsAt = performance.now() + deadlineMs;
  while (!(await holds())) {
    if (performance.now() > endsAt) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await Bun.sleep(20);
  }
}

/**
 * Starts an app as `runMain` would, on a database of its own and any free port; for `await using`, which closes it, drops
 * the database and fails when a connection was left open.
 *
 * @example
 * await using service = await startOnTestDatabase(startSignup, { SMTP_URL: undefined, … });
 */
export async function startOnTestDatabase<Environment, App extends RunningApp>(
  start: (context: MainContext<Environment>) => Promise<App>,
  environment: Environment,
  context: Partial<MainContext<Environment>> = {},
): Promise<App & { readonly databaseUrl: string; [Symbol.asyncDispose](): Promise<void> }> {
  await using starting = new AsyncDisposableStack();
  const database = starting.use(await testDatabase());
  const app = await start({
    databaseUrl: database.url,
    host: "127.0.0.1",
    port: 0,
    environment,
    isOnce: false,
    refusal: undefined,
    stop: new AbortController().signal,
    logger: silentLogger,
    ...context,
  });
  starting.defer(() => app.close());
  const parts = starting.move();
  return { ...app, databaseUrl: database.url, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

/** Why browser tests cannot run here, for `test.skipIf(noBrowser !== undefined)`; undefined where they can. */
export const noBrowser =
  executablePath === undefined ? "the browser tests need an installed Chromium, and there is none" : undefined;
if (noBrowser !== undefined) console.log(`skipped: ${noBrowser}`);

/** A page of a headless Chromium with a profile of its own. */
export interface Browser {
  readonly page: Page;
  /** What the page's scripts and the browser complained about: should be empty at the end. */
  readonly complaints: readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** How {@link openBrowser} looks. */
export interface BrowserOptions {
  /** Pixels across; default 1440. */
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: "light" | "dark";
  /** Default true. */
  readonly javaScript?: boolean;
  /** Complaints with these words are expected: of a request that a test makes fail. */
  readonly expected?: readonly string[];
}

/** Opens one; for `await using`. */
export async function openBrowser(options: BrowserOptions = {}): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "sluice-browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    ...(executablePath === undefined ? {} : { executablePath }),
    headless: true,
    viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
    colorScheme: options.colorScheme ?? "light",
    javaScriptEnabled: options.javaScript ?? true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  const complain = (text: string) => {
    if (options.expected?.some((words) => text.includes(words)) !== true) complaints.push(text);
  };
  page.on("pageerror", (error) => complain(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complain(message.text());
  });
  return {
    page,
    complaints,
    async [Symbol.asyncDispose]() {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** A sample app as a process of its own, to be signalled and read. */
export interface AppProcess {
  /** Its address, as soon as it has said so; fails when it ends before. */
  readonly url: Promise<string>;
  readonly exited: Promise<number>;
  readonly output: () => string;
  readonly errors: () => string;
  kill(signal: NodeJS.Signals): void;
  /** Closes its standard input, as the end of whoever started it would. */
  closeInput(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts `bun <main> …` with these variables, and without DATABASE_URL and PORT of the surroundings. */
export function startProcess(
  main: string,
  parameters: readonly string[] = [],
  variables: Readonly<Record<string, string>> = {},
): AppProcess {
  const { DATABASE_URL: _, PORT: __, ...inherited } = process.env;
  const child = Bun.spawn([process.execPath, main, ...parameters], {
    env: { ...inherited, ...variables },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const url = Promise.withResolvers<string>();
  // Whoever does not want the address does not wait for it.
  url.promise.catch(() => undefined);
  let [output, errors] = ["", ""];
  const reading = Promise.all([
    (async () => {
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
        output += chunk;
        const found = /^ {2}\S+ +(http:\S+)\/\n/m.exec(output)?.[1];
        if (found !== undefined && output.includes("Ctrl-C ends it")) url.resolve(found);
      }
    })(),
    (async () => {
      for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) errors += chunk;
    })(),
  ]);
  const exited = Promise.all([child.exited, reading]).then(([code]) => {
    url.reject(new Error(`it ended with ${code}: ${errors}`));
    return code;
  });
  return {
    url: url.promise,
    exited,
    output: () => output,
    errors: () => errors,
    kill: (signal) => child.kill(signal),
    closeInput: () => {
      child.stdin.end();
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
