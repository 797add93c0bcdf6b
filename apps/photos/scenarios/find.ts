import { claim, type Scenario, table } from "@sluice/app-kit";
import type { Change } from "@sluice/app-kit/pictures";
import { Run, type ScenarioParts } from "./run.ts";

const changes: readonly Change[] = ["mirrored", "darker", "closer"];
/** Find this person: changed photos of known people land with them, and different people stay apart. */
export function find(parts: ScenarioParts, people = 3): Scenario {
  const changeOf = (person: number) => changes[person % changes.length] ?? "mirrored";
  return {
    name: "find",
    title: "Find this person",
    what: `${people} people, each on a photo of their own; then each once more, mirrored, darker, or from closer. Who is found on the second photo is who was on the first, and nobody is taken for somebody else.`,
    async run({ signal }) {
      const run = new Run(parts, signal);
      await run.recognisers(1);
      await run.upload(people);
      await run.upload(people, changeOf);
      const outcomes = await run.settled();
      const whoIsOn = (index: number) => outcomes[index]?.people?.join() ?? "nobody";
      const rows = Array.from({ length: people }, (_, person) => {
        const isFound = outcomes[person]?.people?.length === 1 && whoIsOn(person) === whoIsOn(person + people);
        return [`${person + 1}`, changeOf(person), isFound ? "yes" : "no"];
      });
      const found = rows.filter((row) => row[2] === "yes").length;
      const different = new Set(outcomes.flatMap((one) => one.people ?? [])).size;
      return {
        report: table([["person", "second photo", "found again"], ...rows]),
        claims: [
          claim("everybody is found on their changed photo", found, people, found === people),
          claim("different people are different", different, people, different === people),
          ...run.lastClaims(outcomes),
        ],
      };
    },
  };
}
