import { runMain } from "@sluice/app-kit";
import { providersEnvironment } from "@sluice/app-kit/outside";
import { startSignup } from "./service.ts";

await runMain({
  name: "signup",
  help: `The sign-up page, its consumers and whatever they need.

environment: SMTP_URL MAIL_FROM TWILIO_ACCOUNT_SID TWILIO_AUTH_TOKEN TWILIO_FROM TWILIO_BASE_URL`,
  environment: providersEnvironment,
  start: startSignup,
});
