import { claim, type Scenario } from "@sluice/app-kit";
import { Run, type ScenarioParts } from "./run.ts";

/** Recognition is down: uploads go on, somebody joins meanwhile, and the backlog is worked off. */
export function decoupling(parts: ScenarioParts, count = 4): Scenario {
  const { database, colours } = parts;
  return {
    name: "decoupling",
    title: "Recognition is down, and somebody joins",
    what: `The process that recognises faces is ended. ${count} photos are uploaded all the same and wait in the log. Meanwhile a group joins that nobody had thought of, which looks for each photo's colour, and begins at the beginning. Then recognition is started again.`,
    async run({ log, signal }) {
      const run = new Run(parts, signal);
      await run.recognisers(0);
      await colours.stop();
      await run.upload(count);
      const waiting = (await run.outcomes()).filter(({ recogniser }) => recogniser === null).length;
      const coloured = async () => {
        const [row] = await database.sql<{ without: number; twice: number }[]>`
          select count(*) filter (where c.photo is null)::int as without, count(*) filter (where c.times > 1)::int as twice
          from photos.photo p left join photos.colour c using (photo)`;
        return row ?? { without: -1, twice: -1 };
      };
      const before = await coloured();
      log(`recognition is down, ${waiting} photos wait; colours joins, and has ${before.without} to catch up with`);
      await colours.start();
      await run.waitFor(async () => (await coloured()).without === 0);
      const { without, twice } = await coloured();
      log("every photo has its colour; recognition is started again");
      await run.recognisers(1);
      return {
        report: `${waiting} photos waited for recognition, ${before.without} from before it joined for the group colours.`,
        claims: [
          claim("all of them waited", waiting, count, waiting === count),
          claim("who joined had to catch up", before.without, `at least ${count}`, before.without >= count),
          claim("and did, once each", `${without} left, ${twice} twice`, "0 left, 0 twice", without + twice === 0),
          ...run.lastClaims(await run.settled()),
        ],
      };
    },
  };
}
