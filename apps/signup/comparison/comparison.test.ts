import { expect, test } from "bun:test";
import { person, startTestService } from "../testing.ts";
import { compare } from "./comparison.ts";
import { checkArrivals } from "./exactly-once.ts";
import { Crowd, postAtRate } from "./load.ts";

test("[U1] a comparison passes twice in a row on the same data, and its report is on the page", async () => {
  await using service = await startTestService({ isComparing: true });
  for (let run = 0; run < 2; run++) {
    const { passed, report } = await compare(service, { signups: 10, perSecond: 100 });
    expect(report).toContain("72 of 72 users have exactly one");
    expect(passed).toBe(true);
  }
  const page = await (await fetch(`${service.url}/report`)).text();
  expect(page).toContain("PASSED");
}, 60_000);

test("the ways that send inside the request exist only for a comparison", async () => {
  await using service = await startTestService();
  const response = await fetch(`${service.url}/compare/serial`, { method: "POST", body: JSON.stringify(person(1)) });
  expect(response.status).toBe(404);
});

test("the check sees what is missing, what came twice and what nobody asked for", async () => {
  await using service = await startTestService();
  const crowd = new Crowd("run-planted");
  await postAtRate(`${service.url}/signup`, [crowd.next(), crowd.next()], 100);
  const clean = await checkArrivals(service, crowd, 15_000);
  expect(clean).toMatchObject({ passed: true, messages: 2, queued: 2, isCaughtUp: true });

  const inbox = service.mailCatcher?.inbox;
  const [first] = inbox?.items ?? [];
  if (inbox === undefined || first === undefined) throw new Error("no mail was caught");
  inbox.add(first);
  const doubled = await checkArrivals(service, crowd, 100);
  expect(doubled.passed).toBe(false);
  expect(doubled.email.doubled).toEqual([first.recipient]);

  inbox.add({ ...first, recipient: "stranger@elsewhere.example" });
  expect((await checkArrivals(service, crowd, 100)).email.strangers).toEqual(["stranger@elsewhere.example"]);

  const unserved = crowd.next();
  const missing = await checkArrivals(service, crowd, 100);
  expect(missing.passed).toBe(false);
  expect(missing.sms.missing).toEqual([unserved.phone]);
}, 40_000);
