import { expect, test } from "bun:test";
import { RefusedByProvider } from "./provider.ts";
import { type SmsAccount, twilioSms } from "./sms-provider.ts";
import { startSmsStandIn } from "./sms-stand-in.ts";

const never = new AbortController().signal;
const sms = { to: "+4915112345678", text: "Hello & welcome +1", idempotencyKey: "id-1.sms" };

test("a text message goes out in Twilio's form and yields the provider's reference", async () => {
  const standIn = startSmsStandIn({ stepMs: 0 });
  try {
    expect(await twilioSms(standIn.account)(sms, never)).toMatch(/^SM[0-9a-f]{32}$/);
    expect(standIn.inbox.items).toMatchObject([{ to: sms.to, text: sms.text, idempotencyKey: "id-1.sms" }]);
  } finally {
    await standIn.close();
  }
});

test("an impossible number is a refusal, a wrong password is not: the message must survive it", async () => {
  const standIn = startSmsStandIn({ stepMs: 0 });
  try {
    const badNumber = twilioSms(standIn.account)({ ...sms, to: "+0" }, never).catch((error: unknown) => error);
    expect(await badNumber).toBeInstanceOf(RefusedByProvider);
    const badPassword = await twilioSms({ ...standIn.account, authToken: "wrong" })(sms, never).catch(
      (error: unknown) => error,
    );
    expect(badPassword).toBeInstanceOf(Error);
    expect(badPassword).not.toBeInstanceOf(RefusedByProvider);
    expect(standIn.inbox.items).toHaveLength(0);
  } finally {
    await standIn.close();
  }
});

test.each([
  { status: 400, isRefusal: true },
  { status: 422, isRefusal: true },
  { status: 401, isRefusal: false },
  { status: 408, isRefusal: false },
  { status: 429, isRefusal: false },
  { status: 500, isRefusal: false },
  { status: 503, isRefusal: false },
  { status: 200, isRefusal: false },
])("an answer $status without a reference is a refusal: $isRefusal", async ({ status, isRefusal }) => {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => Response.json({}, { status }) });
  try {
    const error = await twilioSms(accountAt(server.port ?? 0))(sms, never).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(error instanceof RefusedByProvider).toBe(isRefusal);
  } finally {
    await server.stop(true);
  }
});

test("an aborted signal ends the wait for a silent provider", async () => {
  const asked = Promise.withResolvers<void>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => {
      asked.resolve();
      return new Promise<Response>(() => undefined);
    },
  });
  try {
    const stop = new AbortController();
    const sending = twilioSms(accountAt(server.port ?? 0))(sms, stop.signal).catch((error: unknown) => error);
    await asked.promise;
    stop.abort(new Error("stopping"));
    expect(await sending).toBe(stop.signal.reason);
  } finally {
    await server.stop(true);
  }
}, 4_000);

function accountAt(port: number): SmsAccount {
  return { baseUrl: `http://127.0.0.1:${port}`, accountSid: "AC1", authToken: "secret", from: "+15005550006" };
}
