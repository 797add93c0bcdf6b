import { expect, test } from "bun:test";
import { arrivals, Crowd } from "@sluice/app-kit";
import { eventually } from "@sluice/app-kit/testing";
import { startTestService, type TestService } from "../testing.ts";
import { comparison } from "./comparison.ts";
import { latecomer } from "./latecomer.ts";
import { outage } from "./outage.ts";
import type { ScenarioParts } from "./parts.ts";

function partsOf(service: TestService): ScenarioParts {
  const { database, sluice, providers, vouchers } = service;
  const { mailCatcher, smsStandIn } = providers;
  if (mailCatcher === undefined || smsStandIn === undefined) throw new Error("the stand-ins are missing");
  return { ...providers, database, sluice, mailCatcher, smsStandIn, vouchers, url: () => service.url };
}

const context = () => ({ log: () => undefined, signal: AbortSignal.timeout(55_000) });
const broken = (claims: readonly { claim: string; held: boolean }[]) =>
  claims.filter(({ held }) => !held).map(({ claim }) => claim);

test("[U1] the comparison holds twice in a row on the same data", async () => {
  await using service = await startTestService();
  for (let run = 0; run < 2; run++) {
    const { claims, report } = await comparison(partsOf(service), 12).run(context());
    // A handful of requests on a busy machine says nothing of times; --once asks for hundreds.
    expect(broken(claims.filter(({ goal }) => !/sooner|less than/.test(goal)))).toEqual([]);
    expect(claims).toHaveLength(7);
    expect(report).toContain("row and message, one commit");
  }
}, 60_000);

test("[U1] while the SMS provider is down nobody is turned away; the dead letters are redriven, once each", async () => {
  await using service = await startTestService();
  const { claims } = await outage(partsOf(service), 6).run(context());
  expect(broken(claims)).toEqual([]);
}, 60_000);

test("[U1] who joins late begins at the beginning, also after it has left and come back", async () => {
  await using service = await startTestService();
  const parts = partsOf(service);
  for (let run = 0; run < 2; run++) {
    const { claims } = await latecomer(parts, 10).run(context());
    expect(broken(claims)).toEqual([]);
  }
  // Replayed from the beginning, it gives nobody a second one.
  await service.vouchers.stop();
  await service.sluice.groups.reset("voucher", "signups", "earliest", { force: true });
  await service.vouchers.start();
  await eventually("the replay is done", async () => {
    const [row] = await service.database.sql<{ lag: number }[]>`
      select sum(lag)::int as lag from sluice.lag where "group" = 'voucher'`;
    return row?.lag === 0;
  });
  const [row] = await service.database.sql<{ count: number }[]>`select count(*)::int as count from signup.vouchers`;
  expect(row?.count).toBe(30);
}, 60_000);

test("the checks see a mail that came twice, one that is missing, and vouchers that nobody gave", async () => {
  await using service = await startTestService();
  const parts = partsOf(service);
  const people = new Crowd().next(3).map(({ email }) => email);
  expect(arrivals(people, people.slice(1))).toMatchObject({ isClean: false, missing: [people[0]] });
  expect(arrivals(people, [...people, people[2] ?? ""])).toMatchObject({ isClean: false, doubled: [people[2]] });

  // A provider that takes every message twice.
  const { inbox } = parts.mailCatcher;
  const add = inbox.add.bind(inbox);
  inbox.add = (mail) => {
    add(mail);
    add(mail);
  };
  const doubled = await comparison(parts, 3).run(context());
  expect(broken(doubled.claims)).toContain("everybody got exactly one mail");
  inbox.add = add;

  const idle = { ...parts, vouchers: { start: () => Promise.resolve(), stop: () => Promise.resolve() } };
  const { claims } = await latecomer(idle, 4, 500).run(context());
  expect(broken(claims)).toContain("everybody from before has a voucher");
}, 60_000);
