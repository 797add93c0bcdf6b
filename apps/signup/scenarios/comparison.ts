import {
  arrivalsText,
  Crowd,
  claim,
  type Measurement,
  measureByTurns,
  milliseconds,
  type Scenario,
  table,
} from "@sluice/app-kit";
import { allPosted, postOf, type ScenarioParts } from "./parts.ts";
import { serveWays, type Way, ways } from "./ways.ts";

/** The response times of the three ways in one run, and what arrived. */
export function comparison(parts: ScenarioParts, count = 75): Scenario {
  return {
    name: "comparison",
    title: "Serial, parallel, queued",
    what: `Signs up ${count} people a way over HTTP: with mail and SMS sent within the request one after the other, at once, and through the queue. Then it checks that everybody got exactly one mail and one text message.`,
    async run({ log, signal }) {
      const crowd = new Crowd();
      const server = serveWays(parts);
      const { serial, parallel, queued } = server.addresses;
      const slowRow = { serial: `${serial}?row=slow`, parallel: `${parallel}?row=slow`, queued: `${queued}?row=slow` };
      const rate = { perSecond: 30, signal };
      try {
        log(`${crowd.run}: warming up`);
        // Opens as many connections as this rate needs. These sign-ups are checked like all others, but not measured.
        await measureByTurns(slowRow, crowd.next(count), rate);
        log("mail and SMS take 50 ms each, and so does the row");
        const slow = await measureByTurns(slowRow, crowd.next(count * 3), rate);
        log("mail and SMS take 50 ms each, the row as long as it takes");
        // Queued is the real thing here: what anybody's browser posts to.
        const real = { serial, parallel, queued: `${parts.url()}/signup` };
        const asIs = await measureByTurns(real, crowd.next(count * 3), rate);
        log("waiting for mails and text messages");
        const isSettled = await allPosted(parts, crowd.people, signal);
        const { mails, texts } = postOf(parts, crowd.people);
        const failed = [...Object.values(slow), ...Object.values(asIs)].reduce((sum, one) => sum + one.failed, 0);
        const sooner = (what: string, one: Measurement, other: Measurement, share: number, goal: string) => {
          const measured = `${milliseconds(one.p50Ms)} to ${milliseconds(other.p50Ms)}`;
          return claim(what, measured, goal, one.p50Ms < other.p50Ms * share);
        };
        const once = (what: string, check: typeof mails) =>
          claim(`everybody got exactly one ${what}`, arrivalsText(check), check.expected, check.isClean && isSettled);
        return {
          report: reportText(slow, asIs),
          claims: [
            sooner("both at once is sooner than one by one", slow.parallel, slow.serial, 1, "sooner"),
            sooner("queued is far sooner than serial", asIs.queued, asIs.serial, 1 / 3, "less than a third"),
            sooner("queued is far sooner than parallel", asIs.queued, asIs.parallel, 1 / 2, "less than half"),
            sooner("so it is with a row of 50 ms", slow.queued, slow.serial, 2 / 3, "less than two thirds"),
            claim("no request failed", failed, 0, failed === 0),
            once("mail", mails),
            once("text message", texts),
          ],
        };
      } finally {
        await server.close();
      }
    },
  };
}

function reportText(slow: Record<Way, Measurement>, asIs: Record<Way, Measurement>): string {
  const times = ({ p50Ms, p99Ms }: Measurement) => [milliseconds(p50Ms), milliseconds(p99Ms)];
  const rows = (Object.keys(ways) as Way[]).map((way) => [way, ways[way], ...times(slow[way]), ...times(asIs[way])]);
  const heading = ["way", "the request waits for", "row 50 ms: p50", "p99", "row as it is: p50", "p99"];
  return `Response time of one sign-up, ${asIs.queued.count} a way and column, by turns; mail and SMS take 50 ms each

${table([heading, ...rows], ["left", "left", "right", "right", "right", "right"])}

Real: HTTP, the transactions, the log, SMTP, the provider's HTTP protocol. Simulated: mail server and SMS
provider run on this machine and wait 50 ms before they accept; "row 50 ms" sleeps that long in the database.
The last line's last columns are POST /signup itself. Load, service and providers share one process.`;
}
