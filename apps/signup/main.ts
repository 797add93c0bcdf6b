import { errorLine, isSluiceError, jsonLogger } from "sluice";
import { startEmbedded } from "sluice/embedded";
import { compare } from "./comparison/comparison.ts";
import { stepMs } from "./comparison/routes.ts";
import { showLiveLine } from "./live-line.ts";
import { type Options, readOptions, StartError, usage } from "./options.ts";
import { type Service, startService } from "./service.ts";

const logger = jsonLogger("warn");

/** Resolves at the first Ctrl-C or SIGTERM; the second ends the process at once. */
function stopRequest(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isStopping = false;
  const onSignal = () => {
    if (isStopping) process.exit(130);
    isStopping = true;
    resolve();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return promise;
}

async function run(options: Options): Promise<number> {
  if (options.command === "help") {
    process.stdout.write(usage);
    return 0;
  }
  const stopped = stopRequest();
  await using parts = new AsyncDisposableStack();
  let { databaseUrl } = options;
  if (databaseUrl === undefined) {
    const server = await startEmbedded({ onLog: (line) => process.stdout.write(`${line}\n`) });
    parts.defer(() => server.stop());
    process.stdout.write(`no DATABASE_URL: the embedded Postgres runs, its data in ${server.dataDirectory}\n`);
    databaseUrl = server.url;
  }
  const isOnce = options.command === "once";
  const service = await startService({
    ...options,
    databaseUrl,
    stepMs,
    logger,
    isComparing: isOnce,
    // A comparison sends hundreds of mails to people who do not exist: never to a real provider.
    ...(isOnce ? { smtpUrl: undefined, smsAccount: undefined } : {}),
  });
  parts.defer(() => service.close());
  // Awaited here: without it, the parts would be closed as soon as the promise exists.
  return await (isOnce ? compareOnce(service, stopped) : serveUntilStopped(service, options, databaseUrl, stopped));
}

async function compareOnce(service: Service, stopped: Promise<void>): Promise<number> {
  if (await service.database.isShared()) {
    // Both would consume the same groups, and half of the mails would arrive at the other one's catcher.
    throw new StartError("another sign-up process runs on this database; stop it before comparing", 69);
  }
  process.stdout.write("comparing, about 20 seconds …\n\n");
  const result = await Promise.race([compare(service), stopped]);
  if (result === undefined) return 130;
  process.stdout.write(result.report);
  return result.passed ? 0 : 1;
}

async function serveUntilStopped(
  service: Service,
  options: Options,
  url: string,
  stopped: Promise<void>,
): Promise<number> {
  // The password of a database that is not ours belongs into no terminal's history.
  const psql = options.databaseUrl === undefined ? `psql '${url}'` : 'psql "$DATABASE_URL"';
  process.stdout.write(`
  sign up         ${service.url}/
  mails           ${service.url}/mails${service.mailCatcher === undefined ? "  (they go out over SMTP_URL)" : ""}
  text messages   ${service.url}/sms${service.smsStandIn === undefined ? "  (they go out through the provider)" : "  (a stand-in: no telephone rings)"}
  look inside     ${psql}
                  select "group", "partition", committed_offset, end_offset, lag from sluice.lag;

Ctrl-C ends it.
`);
  const hideLiveLine = showLiveLine(service, logger);
  await stopped;
  hideLiveLine();
  process.stdout.write("stopping: finishing what is under way …\n");
  return 0;
}

function explain(error: unknown): number {
  if (error instanceof StartError || isSluiceError(error)) {
    process.stderr.write(`signup: ${error instanceof StartError ? error.message : errorLine(error)}\n`);
    return error.exitCode;
  }
  logger.log("error", "signup ended unexpectedly", { error });
  return 70;
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Whoever read the output has gone, as in `npm start | head`; the service goes on without.
  if (error.code !== "EPIPE") throw error;
});
process.exitCode = await Promise.resolve()
  .then(() => run(readOptions(process.argv.slice(2), process.env)))
  .catch(explain);
process.exit();
