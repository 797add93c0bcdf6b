import { z } from "zod";
import type { SmsAccount } from "./providers/sms-provider.ts";

/** A reason not to start, for the person at the terminal: one clear line and the exit code, no stack. */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly exitCode: number;

  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** What `--help` and a wrong argument show. */
export const usage = `usage: npm start [-- --once | --help]

  (nothing)   start the sign-up page, its consumers and whatever they need; Ctrl-C ends it
  --once      200 sign-ups over HTTP, check that each got one mail and one text message,
              compare with sending inside the request, print the report and end
  --help      this text

environment: DATABASE_URL HOST PORT SMTP_URL MAIL_FROM
             TWILIO_ACCOUNT_SID TWILIO_AUTH_TOKEN TWILIO_FROM TWILIO_BASE_URL
             (apps/signup/README.md says what each is for)
`;

/** What the command line and the environment ask for. */
export interface Options {
  readonly command: "serve" | "once" | "help";
  readonly databaseUrl: string | undefined;
  /** The address to listen on. */
  readonly host: string;
  readonly port: number | undefined;
  readonly smtpUrl: string | undefined;
  readonly mailFrom: string;
  readonly smsAccount: SmsAccount | undefined;
}

// What is set to nothing counts as not set, as everywhere in shells and compose files.
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((text) => (text === "" ? undefined : text), schema.optional());

const environment = z
  .object({
    DATABASE_URL: optional(z.string().regex(/^postgres(ql)?:\/\//, "must begin with postgres://")),
    HOST: optional(z.string()),
    PORT: optional(z.coerce.number("must be a number").int("must be a whole number").min(1).max(65_535)),
    SMTP_URL: optional(z.string().regex(/^smtps?:\/\/./, "must begin with smtp:// or smtps://")),
    MAIL_FROM: optional(z.string()),
    TWILIO_ACCOUNT_SID: optional(z.string()),
    TWILIO_AUTH_TOKEN: optional(z.string()),
    TWILIO_FROM: optional(z.string()),
    TWILIO_BASE_URL: optional(z.url("must be a URL")),
  })
  .refine(
    (env) => [0, 3].includes([env.TWILIO_ACCOUNT_SID, env.TWILIO_AUTH_TOKEN, env.TWILIO_FROM].filter(Boolean).length),
    {
      path: ["TWILIO_ACCOUNT_SID"],
      message: "TWILIO_AUTH_TOKEN and TWILIO_FROM belong together: set all three or none",
    },
  );

/** Reads both. Fails with {@link StartError} (64) and names every argument or variable that does not fit. */
export function readOptions(parameters: readonly string[], variables: Record<string, string | undefined>): Options {
  const [first, ...rest] = parameters;
  const command = commandOf(first);
  if (command === undefined || rest.length > 0) {
    throw new StartError(`unknown argument: ${(command === undefined ? parameters : rest).join(" ")}\n\n${usage}`, 64);
  }
  const parsed = environment.safeParse(variables);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
    throw new StartError(problems.join("; "), 64);
  }
  const env = parsed.data;
  return {
    command,
    databaseUrl: env.DATABASE_URL,
    host: env.HOST ?? "127.0.0.1",
    port: env.PORT,
    smtpUrl: env.SMTP_URL,
    mailFrom: env.MAIL_FROM ?? "Sluice sign-up <welcome@signup.example>",
    smsAccount: smsAccountOf(env),
  };
}

function commandOf(parameter: string | undefined): Options["command"] | undefined {
  if (parameter === undefined) return "serve";
  if (parameter === "--once") return "once";
  return parameter === "--help" ? "help" : undefined;
}

function smsAccountOf(env: z.infer<typeof environment>): SmsAccount | undefined {
  const { TWILIO_ACCOUNT_SID: accountSid, TWILIO_AUTH_TOKEN: authToken, TWILIO_FROM: from } = env;
  if (accountSid === undefined || authToken === undefined || from === undefined) return undefined;
  return { baseUrl: env.TWILIO_BASE_URL ?? "https://api.twilio.com", accountSid, authToken, from };
}
