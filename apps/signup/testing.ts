import { testDatabase } from "@sluice/testkit";
import { fixed, silentLogger } from "sluice";
import { type Service, type ServiceOptions, startService } from "./service.ts";

/** How long a test waits for what must happen. */
export const deadlineMs = 15_000;

/** The service on a database of its own, without pauses; for `await using`. */
export interface TestService extends Service {
  post(values: unknown, headers?: Record<string, string>): Promise<Response>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts it; what a test does not say is on this machine, and retries come after 50 ms. */
export async function startTestService(options: Partial<ServiceOptions> = {}): Promise<TestService> {
  await using starting = new AsyncDisposableStack();
  const database = starting.use(await testDatabase());
  const service = await startService({
    databaseUrl: database.url,
    port: 0,
    mailFrom: "Sluice <hello@signup.example>",
    stepMs: 0,
    backoff: fixed("50ms"),
    logger: silentLogger,
    ...options,
  });
  starting.defer(() => service.close());
  const parts = starting.move();
  return {
    ...service,
    post: (values, headers = {}) =>
      fetch(`${service.url}/signup`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(values),
      }),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Asks again until `holds`; fails after {@link deadlineMs} with what was waited for. */
export async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + deadlineMs;
  while (!(await holds())) {
    if (performance.now() > endsAt) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await Bun.sleep(20);
  }
}

/** Somebody who can sign up. */
export function person(number: number): { name: string; email: string; phone: string } {
  return {
    name: `User ${number}`,
    email: `user-${number}@people.example`,
    phone: `+9990000${String(number).padStart(4, "0")}`,
  };
}
