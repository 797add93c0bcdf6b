import { arrivalsText, Crowd, claim, measureByTurns, milliseconds, type Scenario, table, until } from "@sluice/app-kit";
import { allPosted, postOf, type ScenarioParts } from "./parts.ts";
import { serveWays } from "./ways.ts";

/** The SMS provider is down for a while: attempts, dead letters, redrive; and what the other ways make of it. */
export function outage(parts: ScenarioParts, count = 20): Scenario {
  const { database, sluice, smsStandIn } = parts;
  return {
    name: "outage",
    title: "The SMS provider is down",
    what: `While the provider answers 503, ${count} people sign up each way. Queued, all of them are welcome at once and have their mail; the text messages are tried again, become dead letters, and are redriven when the provider is back.`,
    async run({ log, signal }) {
      const crowd = new Crowd();
      const server = serveWays(parts);
      try {
        smsStandIn.setDown(true);
        log("the SMS provider is down");
        const found = await measureByTurns(server.addresses, crowd.next(count * 3), { perSecond: 40, signal });
        const { serial, parallel, queued } = found;
        log(`failed: serial ${serial.failed}, parallel ${parallel.failed}, queued ${queued.failed} of ${count} each`);
        const people = crowd.people.filter((_, index) => index % 3 === 2);
        await until(() => postOf(parts, people).mails.isClean, 15_000, signal);
        const meanwhile = postOf(parts, people).mails;
        log(`${meanwhile.exactlyOnce} of ${count} have their mail; the text messages are tried again and again`);

        const dead = () => database.sql<{ number: number; attempts: number }[]>`
          select dead_letter::int as number, attempts from sluice.dead_letters where "group" = 'sms'
          and topic = 'signups' and value->>'email' = any(${people.map(({ email }) => email)}) order by dead_letter`;
        await until(async () => (await dead()).length === count, 40_000, signal);
        const letters = await dead();
        const fewest = Math.min(...letters.map((letter) => letter.attempts));
        log(`${letters.length} dead letters after ${fewest} attempts; the provider is back, redriving`);
        smsStandIn.setDown(false);
        const { redriven } = await sluice.deadLetters.redrive(letters.map((letter) => letter.number));
        const isSettled = await allPosted(parts, people, signal);
        const { mails, texts } = postOf(parts, people);
        const left = (await dead()).length;
        const allBack = redriven.length === count && left === 0;
        const rows = Object.entries(found).map(([way, { failed, p50Ms }]) =>
          [way, count - failed, failed, milliseconds(p50Ms)].map((cell) => String(cell)),
        );
        return {
          report: `Sign-ups while the SMS provider answers 503

${table([["way", "answered 201", "answered 500", "p50"], ...rows], ["left", "right", "right", "right"])}

Serial and parallel leave a user who exists, has a mail perhaps, and was told that it did not work.`,
          claims: [
            claim("queued: no sign-up failed", queued.failed, 0, queued.failed === 0),
            claim("serial: every sign-up failed", serial.failed, count, serial.failed === count),
            claim("parallel: every sign-up failed", parallel.failed, count, parallel.failed === count),
            claim("mails went out meanwhile", arrivalsText(meanwhile), count, meanwhile.isClean),
            claim("every text message became a dead letter", letters.length, count, letters.length === count),
            claim("each was tried several times before", `${fewest} times`, "at least 2", fewest >= 2),
            claim("all were redriven", `${redriven.length}, ${left} left`, `${count}, 0 left`, allBack),
            claim("everybody got exactly one text message", arrivalsText(texts), count, texts.isClean && isSettled),
            claim("everybody still has exactly one mail", arrivalsText(mails), count, mails.isClean),
          ],
        };
      } finally {
        smsStandIn.setDown(false);
        await server.close();
      }
    },
  };
}
