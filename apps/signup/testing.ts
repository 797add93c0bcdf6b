import type { Database } from "@sluice/app-kit";
import {
  type MailCatcher,
  type ProvidersEnvironment,
  providersEnvironment,
  type SmsStandIn,
} from "@sluice/app-kit/outside";
import { startOnTestDatabase } from "@sluice/app-kit/testing";
import { type SignupService, startSignup } from "./service.ts";

/** The service on a database of its own; for `await using`. */
export interface TestService extends SignupService {
  readonly database: Database;
  readonly mailCatcher: MailCatcher | undefined;
  readonly smsStandIn: SmsStandIn | undefined;
  post(values: unknown, headers?: Record<string, string>): Promise<Response>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts it; what the environment does not say is on this machine. */
export async function startTestService(environment: Partial<ProvidersEnvironment> = {}): Promise<TestService> {
  const service = await startOnTestDatabase(startSignup, providersEnvironment.parse(environment));
  return {
    ...service,
    database: service.frame.database,
    mailCatcher: service.providers.mailCatcher,
    smsStandIn: service.providers.smsStandIn,
    post: (values, headers = {}) =>
      fetch(`${service.url}/signup`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(values),
      }),
  };
}

/** Somebody who can sign up. */
export function person(number: number): { name: string; email: string; phone: string } {
  return {
    name: `User ${number}`,
    email: `user-${number}@people.example`,
    phone: `+9990000${String(number).padStart(4, "0")}`,
  };
}
