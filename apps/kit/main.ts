import { errorLine, isSluiceError, jsonLogger, type Logger } from "sluice";
import { z } from "zod";
import { showLiveLine } from "./live-line.ts";
import { type Options, readOptions } from "./options.ts";
import { keepPostgres } from "./process/kept-postgres.ts";
import { resultText } from "./scenarios/results.ts";
import { ScenarioRefusal, type Scenarios } from "./scenarios/scenarios.ts";
import { StartError } from "./start-error.ts";
import { aborted, stopRequest } from "./stop-request.ts";

/** What an app is started with. */
export interface MainContext<Environment> {
  /** DATABASE_URL, or that of the embedded server. */
  readonly databaseUrl: string;
  readonly host: string;
  /** Undefined: 3000 if that is free, else any free one. */
  readonly port: number | undefined;
  /** What the app itself reads from the environment. */
  readonly environment: Environment;
  /** With `--once`: nothing that leaves this machine, whatever the environment says. */
  readonly isOnce: boolean;
  /** Why no scenario may be started from the page: pass it on to `frame.listen`. Undefined: they may. */
  readonly refusal: string | undefined;
  /** Aborted when the program is asked to stop. */
  readonly stop: AbortSignal;
  readonly logger: Logger;
}

/** An app that runs. */
export interface RunningApp {
  readonly url: string;
  readonly scenarios: Scenarios;
  /** What its terminal shows below its address: pages, what stands in for what. */
  readonly notes?: readonly string[];
  /** What flows, in one line; `() => frame.picture.line()`. */
  liveLine(): Promise<string>;
  /** Stops accepting, drains, closes everything. */
  close(): Promise<void>;
}

/** What a program is made of. */
export interface MainOptions<Environment> {
  readonly name: string;
  /** What it is started with, for `--help`; default `bun apps/<name>/main.ts`. */
  readonly command?: string;
  /** What `--help` says below the usage: what it is, in a line or two, and the variables of its environment. */
  readonly help: string;
  /** What it reads from the environment besides DATABASE_URL, HOST, PORT and SCENARIOS: a `z.object` of {@link optional}s. */
  readonly environment: z.ZodType<Environment>;
  start(context: MainContext<Environment>): Promise<RunningApp>;
  /** What `--once` does; resolves with the exit code. Default: starts the app and runs all its scenarios, one by one. */
  readonly once?: (context: MainContext<Environment>) => Promise<number>;
}

/** For apps that read nothing of their own. */
export const noEnvironment = z.object({});

/**
 * The program of a sample app: reads its options, starts an embedded Postgres where there is no DATABASE_URL, serves until
 * it is asked to stop and drains; or runs its scenarios with `--once`. Ends the process: 0 when all went well, 1 when a claim
 * did not hold, 64 for a wrong option, 69 for what is not there, 130 for a second signal.
 *
 * @example
 * await runMain({ name: "signup", help, environment: signupEnvironment, start: startSignup });
 */
export async function runMain<Environment>(main: MainOptions<Environment>): Promise<never> {
  // What a scenario provokes is told by its report and by the page; a log file gets it all the same.
  const logger = jsonLogger(process.argv.includes("--once") || process.stderr.isTTY === true ? "error" : "warn");
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // Whoever read the output has gone, as in `npm start | head`; the service goes on without.
    if (error.code !== "EPIPE") throw error;
  });
  const code = await run(main, logger).catch((error: unknown) => {
    if (error instanceof StartError || isSluiceError(error)) {
      process.stderr.write(`${main.name}: ${error instanceof StartError ? error.message : errorLine(error)}\n`);
      return error.exitCode;
    }
    logger.log("error", `${main.name} ended unexpectedly`, { error });
    return 70;
  });
  process.exit(code);
}

async function run<Environment>(main: MainOptions<Environment>, logger: Logger): Promise<number> {
  const usage = usageOf(main);
  const options = readOptions(main.environment, usage, process.argv.slice(2), process.env);
  if (options.command === "help") {
    process.stdout.write(usage);
    return 0;
  }
  const stop = stopRequest(options.stopsWithStdin);
  await using parts = new AsyncDisposableStack();
  let { databaseUrl } = options;
  if (databaseUrl === undefined) {
    // Several apps may come to it, each with pools of its own.
    const settings = { max_connections: "300" };
    const server = await keepPostgres({ settings, onLog: (line) => process.stdout.write(`${line}\n`) });
    parts.defer(() => server.stop());
    process.stdout.write(`no DATABASE_URL: the embedded Postgres runs, its data in ${server.dataDirectory}\n`);
    databaseUrl = server.url;
  }
  const isOnce = options.command === "once";
  const context: MainContext<Environment> = {
    databaseUrl,
    host: options.host,
    port: isOnce ? 0 : options.port,
    environment: options.environment,
    isOnce,
    refusal: options.scenariosAllowed || isOnce ? undefined : "scenarios are switched off here (SCENARIOS=off)",
    stop,
    logger,
  };
  if (isOnce && main.once !== undefined) return await main.once(context);
  const app = await main.start(context);
  parts.defer(() => app.close());
  // Awaited here: without it, the parts would be closed as soon as the promise exists.
  return await (isOnce ? runAll(app.scenarios, stop) : serve(main.name, app, options, databaseUrl, stop, logger));
}

function usageOf({ name, help, command }: Pick<MainOptions<unknown>, "name" | "help" | "command">): string {
  return `usage: ${command ?? `bun apps/${name}/main.ts`} [--once | --help]

  (nothing)   serve until Ctrl-C
  --once      run every scenario, print the reports, and end: 0 if all claims held, 1 if not
  --help      this text

${help.trim()}
Every app reads DATABASE_URL, HOST, PORT and SCENARIOS (on, off); apps/${name}/README.md says what each is for.
`;
}

async function runAll(scenarios: Scenarios, stop: AbortSignal): Promise<number> {
  let failed = 0;
  for (const { name, title } of scenarios.list) {
    process.stdout.write(`\n${title} …\n`);
    const begun = await scenarios
      .start(name, (line) => process.stdout.write(`  ${line}\n`))
      .catch((error: unknown) => {
        throw error instanceof ScenarioRefusal ? new StartError(`${error.message}; stop it first`, 69) : error;
      });
    const result = await Promise.race([begun.run, aborted(stop)]);
    if (result === undefined) return 130;
    process.stdout.write(`\n${resultText(title, result)}`);
    if (!result.passed) failed += 1;
  }
  const passed = scenarios.list.length - failed;
  process.stdout.write(`\n${passed} of ${scenarios.list.length} scenarios passed\n`);
  return failed === 0 ? 0 : 1;
}

async function serve(
  name: string,
  app: RunningApp,
  options: Options<unknown>,
  url: string,
  stop: AbortSignal,
  logger: Logger,
): Promise<number> {
  // The password of a database that is not ours belongs into no terminal's history.
  const psql = options.databaseUrl === undefined ? `psql '${url}'` : 'psql "$DATABASE_URL"';
  process.stdout.write(`
  ${name.padEnd(15)} ${app.url}/
${(app.notes ?? []).map((note) => `  ${note}\n`).join("")}  look inside     ${psql}
                  select "group", "partition", committed_offset, end_offset, lag from sluice.lag;

Ctrl-C ends it.
`);
  const hideLiveLine = showLiveLine(() => app.liveLine(), logger);
  await aborted(stop);
  hideLiveLine();
  process.stdout.write("stopping: finishing what is under way …\n");
  return 0;
}
