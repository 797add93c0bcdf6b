import { expect, test } from "bun:test";
import { readOptions, StartError } from "./options.ts";

test("without arguments and variables everything is started on this machine", () => {
  expect(readOptions([], {})).toMatchObject({
    command: "serve",
    databaseUrl: undefined,
    port: undefined,
    smtpUrl: undefined,
    smsAccount: undefined,
  });
  expect(readOptions(["--once"], { PORT: "", SMTP_URL: "" })).toMatchObject({ command: "once", port: undefined });
});

test("variables choose the real providers", () => {
  const options = readOptions([], {
    DATABASE_URL: "postgres://somewhere/db",
    PORT: "8080",
    SMTP_URL: "smtps://user:secret@mail.example:465",
    TWILIO_ACCOUNT_SID: "AC1",
    TWILIO_AUTH_TOKEN: "secret",
    TWILIO_FROM: "+15005550006",
  });
  expect(options.port).toBe(8080);
  expect(options.smsAccount?.baseUrl).toBe("https://api.twilio.com");
});

test.each([
  { parameters: ["--twice"], variables: {}, says: "--twice" },
  { parameters: ["--once", "now"], variables: {}, says: "now" },
  { parameters: [], variables: { PORT: "99999" }, says: "PORT" },
  { parameters: [], variables: { PORT: "http" }, says: "PORT must be a number" },
  { parameters: [], variables: { SMTP_URL: "localhost:25" }, says: "SMTP_URL must begin with" },
  { parameters: [], variables: { DATABASE_URL: "mysql://x" }, says: "DATABASE_URL must begin with" },
  { parameters: [], variables: { TWILIO_ACCOUNT_SID: "AC1" }, says: "set all three or none" },
])("refused with exit code 64: $says", ({ parameters, variables, says }) => {
  const refuse = () => readOptions(parameters, variables);
  expect(refuse).toThrow(StartError);
  expect(refuse).toThrow(says);
});
