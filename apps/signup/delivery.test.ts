import { expect, test } from "bun:test";
import { lags } from "@sluice/app-kit";
import { startMailCatcher } from "@sluice/app-kit/outside";
import { eventually } from "@sluice/app-kit/testing";
import { deliverOnce, type SignupContext } from "./delivery.ts";
import { person, startTestService, type TestService } from "./testing.ts";

interface Row {
  readonly channel: string;
  readonly state: string;
  readonly attempt: number;
}

const deliveriesOf = (service: TestService) =>
  service.database.sql<Row[]>`select channel, state, attempt from signup.deliveries order by channel, message_id`;

const settled = (service: TestService, count: number) =>
  eventually(`${count} deliveries are settled`, async () => (await deliveriesOf(service)).length === count);

test("[U1] every sign-up gets exactly one mail and one text message", async () => {
  await using service = await startTestService();
  const people = Array.from({ length: 40 }, (_, index) => person(index));
  const responses = await Promise.all(people.map((somebody) => service.post(somebody)));
  expect(new Set(responses.map((response) => response.status))).toEqual(new Set([201]));
  await settled(service, 80);
  await eventually("both groups are caught up", async () => {
    return [...(await lags(service.database, "signups")).values()].every((lag) => lag === 0);
  });
  const recipients = service.mailCatcher?.inbox.items.map((mail) => mail.recipient).toSorted();
  expect(recipients).toEqual(people.map((somebody) => somebody.email).toSorted());
  const numbers = service.smsStandIn?.inbox.items.map((sms) => sms.to).toSorted();
  expect(numbers).toEqual(people.map((somebody) => somebody.phone).toSorted());
  expect(new Set(service.smsStandIn?.inbox.items.map((sms) => sms.idempotencyKey)).size).toBe(40);
});

test("[U1] while the mail server is down, text messages go out; when it is back, the mail follows once", async () => {
  const probe = await startMailCatcher({ stepMs: 0 });
  const port = Number(new URL(probe.url).port);
  await probe.close();
  await using service = await startTestService({ SMTP_URL: `smtp://127.0.0.1:${port}` });
  expect((await service.post(person(1))).status).toBe(201);
  await settled(service, 1);
  expect([...(await deliveriesOf(service))]).toEqual([{ channel: "sms", state: "sent", attempt: 1 }]);

  const back = await startMailCatcher({ stepMs: 0, port });
  try {
    await settled(service, 2);
    expect(back.inbox.items.map((mail) => mail.recipient)).toEqual([person(1).email]);
    expect(service.smsStandIn?.inbox.items).toHaveLength(1);
  } finally {
    await back.close();
  }
});

test("a number that the provider refuses is recorded and does not hold up anybody", async () => {
  const asked: string[] = [];
  const provider = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const number = new URLSearchParams(await request.text()).get("To") ?? "";
      asked.push(number);
      return number === person(1).phone
        ? Response.json({ message: "no such number" }, { status: 400 })
        : Response.json({ sid: "SM1" }, { status: 201 });
    },
  });
  try {
    const baseUrl = `http://127.0.0.1:${provider.port}`;
    await using service = await startTestService({
      TWILIO_BASE_URL: baseUrl,
      TWILIO_ACCOUNT_SID: "AC1",
      TWILIO_AUTH_TOKEN: "secret",
      TWILIO_FROM: "+15005550006",
    });
    await service.post(person(1));
    await service.post(person(2));
    await settled(service, 4);
    const states = (await deliveriesOf(service)).filter((row) => row.channel === "sms").map((row) => row.state);
    expect(states.toSorted()).toEqual(["refused", "sent"]);
    expect(asked.toSorted()).toEqual([person(1).phone, person(2).phone]);
  } finally {
    await provider.stop(true);
  }
});

test("what is settled is not sent again when the message comes again", async () => {
  await using service = await startTestService();
  await service.post(person(1));
  await settled(service, 2);
  const [row] = await service.database.sql<{ message_id: string }[]>`
    select message_id from signup.deliveries where channel = 'email'`;
  const again = { id: row?.message_id } as unknown as SignupContext;
  await deliverOnce(service.database, again, "email", () => {
    throw new Error("it was sent a second time");
  });
  expect(service.mailCatcher?.inbox.items).toHaveLength(1);
});
