import { type App, errorLine, isSluiceError, jsonLogger, run } from "sluice";
import { z } from "zod";
import { type Database, openDatabase } from "./database.ts";
import { optional } from "./options.ts";

/** What a process of an app that has no page is made of. */
export interface WorkerOptions<Environment> {
  /** Shown as the member's name. Not that of the app with the page, which would take this for a second one of itself. */
  readonly name: string;
  /** The app's own tables. */
  readonly schema: URL;
  /** What it reads from the environment besides DATABASE_URL. */
  readonly environment: z.ZodType<Environment>;
  /** Declares what it consumes. */
  readonly app: (environment: Environment, database: Database) => App | Promise<App>;
}

/**
 * The program of a process that only consumes: drains on SIGINT and SIGTERM, and with STOP_WITH_STDIN=1 when its standard input ends.
 * Ends the process: 0 after a drain, 64 for what is wrong in the environment, else as `run` of Sluice says.
 */
export async function runWorker<Environment>(worker: WorkerOptions<Environment>): Promise<never> {
  const end = (message: string, code: number): never => {
    process.stderr.write(`${worker.name}: ${message}\n`);
    process.exit(code);
  };
  const frame = z.object({ DATABASE_URL: z.string("is not set"), STOP_WITH_STDIN: optional(z.string()) });
  const [own, common] = [worker.environment.safeParse(process.env), frame.safeParse(process.env)];
  if (!own.success || !common.success) {
    const issues = [...(common.error?.issues ?? []), ...(own.error?.issues ?? [])];
    return end(issues.map((issue) => `${issue.path.join(".")} ${issue.message}`).join("; "), 64);
  }
  if (common.data.STOP_WITH_STDIN === "1") {
    const stop = () => process.kill(process.pid, "SIGTERM");
    process.stdin.on("end", stop).on("error", stop).resume();
  }
  const logger = jsonLogger("warn");
  const { name, schema } = worker;
  const url = common.data.DATABASE_URL;
  try {
    const database = await openDatabase({ url, name, schema, connections: 2, logger });
    const code = await run(await worker.app(own.data, database), { url, logger });
    await database.close();
    process.exit(code);
  } catch (error) {
    return end(errorLine(error), isSluiceError(error) ? error.exitCode : 70);
  }
}
