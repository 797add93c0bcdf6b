import { z } from "zod";
import { StartError } from "./start-error.ts";

/** A variable of the environment that may be missing. What is set to nothing counts as not set, as in compose files. */
export const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((text) => (text === "" ? undefined : text), schema.optional());

/** What every sample app reads from the environment. */
const everyApp = z.object({
  DATABASE_URL: optional(z.string().regex(/^postgres(ql)?:\/\//, "must begin with postgres://")),
  HOST: optional(z.string()),
  PORT: optional(z.coerce.number("must be a number").int("must be a whole number").min(0).max(65_535)),
  SCENARIOS: optional(z.enum(["on", "off"], "must be on or off")),
  STOP_WITH_STDIN: optional(z.literal("1", "must be 1, or not set")),
});

/** What the command line and the environment ask for. */
export interface Options<Environment> {
  readonly command: "serve" | "once" | "help";
  readonly databaseUrl: string | undefined;
  /** The address to listen on. */
  readonly host: string;
  /** Undefined: 3000 if that is free, else any free one; 0: any free one. */
  readonly port: number | undefined;
  /** False where strangers reach the page: then nobody can start a scenario from it. */
  readonly scenariosAllowed: boolean;
  /** Whether the end of the standard input ends the program: whoever started it has gone. */
  readonly stopsWithStdin: boolean;
  /** What the app itself reads. */
  readonly environment: Environment;
}

/**
 * Reads both, all problems at once.
 *
 * Fails with {@link StartError} (64) and names every argument or variable that does not fit.
 */
export function readOptions<Environment>(
  schema: z.ZodType<Environment>,
  usage: string,
  parameters: readonly string[],
  variables: Readonly<Record<string, string | undefined>>,
): Options<Environment> {
  const [first, ...rest] = parameters;
  const command = commandOf(first);
  if (command === undefined || rest.length > 0) {
    throw new StartError(`unknown argument: ${(command === undefined ? parameters : rest).join(" ")}\n\n${usage}`, 64);
  }
  const [frame, own] = [everyApp.safeParse(variables), schema.safeParse(variables)];
  const issues = [...(frame.error?.issues ?? []), ...(own.error?.issues ?? [])];
  if (!frame.success || !own.success) {
    throw new StartError(issues.map((issue) => `${issue.path.join(".")} ${issue.message}`).join("; "), 64);
  }
  return {
    command,
    databaseUrl: frame.data.DATABASE_URL,
    host: frame.data.HOST ?? "127.0.0.1",
    port: frame.data.PORT,
    scenariosAllowed: frame.data.SCENARIOS !== "off",
    stopsWithStdin: frame.data.STOP_WITH_STDIN === "1",
    environment: own.data,
  };
}

function commandOf(parameter: string | undefined): Options<unknown>["command"] | undefined {
  if (parameter === undefined) return "serve";
  if (parameter === "--once") return "once";
  return parameter === "--help" ? "help" : undefined;
}
