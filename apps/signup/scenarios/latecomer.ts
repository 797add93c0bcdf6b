import { Crowd, caughtUp, claim, postAtRate, type Scenario, table, until } from "@sluice/app-kit";
import type { ScenarioParts } from "./parts.ts";

/** A third group joins while the app runs, and works through the topic from its beginning. */
export function latecomer({ database, vouchers, url }: ScenarioParts, count = 60, deadlineMs = 40_000): Scenario {
  const look = async (run: string) => {
    const [row] = await database.sql<{ messages: number; ofRun: number; vouchers: number; without: number }[]>`
      select count(*)::int as messages, (select count(*)::int from signup.vouchers) as vouchers,
        count(*) filter (where v.user_id is null)::int as without,
        count(*) filter (where m.value->>'email' like ${`%@${run}.example`})::int as "ofRun"
      from topics.signups m left join signup.vouchers v on v.user_id::text = m.value->>'userId'`;
    return row ?? { messages: 0, ofRun: 0, vouchers: 0, without: 0 };
  };
  return {
    name: "latecomer",
    title: "A third group joins: welcome vouchers",
    what: `${count} people sign up while nobody gives vouchers. Then a second app joins the topic from its beginning: everybody who ever signed up gets a voucher, exactly one, and not a line of the form or of the other groups has changed. It stays, for whoever signs up next.`,
    async run({ log, signal }) {
      const crowd = new Crowd();
      const signUps = (many: number) =>
        postAtRate(() => `${url()}/signup`, crowd.next(many), { perSecond: 60, signal });
      // A message that was sent within a transaction enters the log right after its commit.
      const holds = async () => (await look(crowd.run)).ofRun === crowd.people.length;
      await vouchers.stop();
      const before = await signUps(count);
      await until(holds, deadlineMs, signal);
      const waiting = await look(crowd.run);
      log(`${waiting.messages} messages, ${waiting.without} users without a voucher; the voucher app joins`);
      await vouchers.start();
      const isCaughtUp = await caughtUp(database, "signups", ["voucher"], { deadlineMs, signal });
      const joined = await look(crowd.run);
      log(`${joined.vouchers - waiting.vouchers} vouchers given; ${count / 2} more people sign up`);
      const after = await signUps(count / 2);
      const isStillCaughtUp = await caughtUp(database, "signups", ["voucher"], { deadlineMs, signal, holds });
      const last = await look(crowd.run);
      const [given, sent] = [last.vouchers - waiting.vouchers, last.messages - waiting.messages];
      const failed = [...before, ...after].filter(({ result }) => result !== 201).length;
      const row = (when: string, found: typeof last) =>
        [when, found.messages, found.vouchers, found.without].map((cell) => String(cell));
      const rows = [row("before it joined", waiting), row("caught up", joined), row("after more sign-ups", last)];
      const without = (found: typeof last) => `${found.without} without`;
      return {
        report: table([["", "messages", "vouchers", "users without"], ...rows], ["left", "right", "right", "right"]),
        claims: [
          claim("no sign-up failed while it joined", failed, 0, failed === 0),
          claim("there was somebody to serve", waiting.without, `at least ${count}`, waiting.without >= count),
          claim(
            "everybody from before has a voucher",
            without(joined),
            "0 without",
            isCaughtUp && joined.without === 0,
          ),
          claim("each was given once", given, waiting.without + count / 2, given === waiting.without + count / 2),
          claim("who comes later gets one", without(last), "0 without", isStillCaughtUp && last.without === 0),
          claim("the topic grew by sign-ups alone", sent, count / 2, sent === count / 2),
        ],
      };
    },
  };
}
