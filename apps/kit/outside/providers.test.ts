import { expect, test } from "bun:test";
import { providersEnvironment, smsAccountOf } from "./providers.ts";

test("without variables everything is on this machine; what is set to nothing is not set", () => {
  expect(providersEnvironment.parse({ SMTP_URL: "", TWILIO_FROM: "" })).toEqual({});
  expect(smsAccountOf({})).toBeUndefined();
});

test("variables choose the real providers", () => {
  const account = { TWILIO_ACCOUNT_SID: "AC1", TWILIO_AUTH_TOKEN: "secret", TWILIO_FROM: "+15005550006" };
  const environment = providersEnvironment.parse({ SMTP_URL: "smtps://user:secret@mail.example:465", ...account });
  expect(smsAccountOf(environment)?.baseUrl).toBe("https://api.twilio.com");
});

test.each([
  { variables: { SMTP_URL: "localhost:25" }, says: "must begin with smtp://" },
  { variables: { TWILIO_ACCOUNT_SID: "AC1" }, says: "set all three or none" },
])("refused: $says", ({ variables, says }) => {
  expect(JSON.stringify(providersEnvironment.safeParse(variables).error?.issues)).toContain(says);
});
