import { availableParallelism, loadavg } from "node:os";
import { type Claim, claim, type Scenario, table } from "@sluice/app-kit";
import { Run, type ScenarioParts } from "./run.ts";

/** Recognition is what takes long, so it gets a second process; and one of them is killed. */
export function processes(parts: ScenarioParts, count = 6): Scenario {
  const { processes } = parts.recognisers;
  return {
    name: "processes",
    title: "Two recognisers, and one is killed",
    what: `${count} photos with one process, then ${count} with two: each takes half of the partitions. Then ${count} more, and one of the two is ended with kill -9 in the middle. What it had in hand is done again, and every photo is in the index once.`,
    async run({ log, signal }) {
      const isRoomy = availableParallelism() - (loadavg()[0] ?? 0) >= 3;
      const [rates, shares, claims]: [number[], number[], Claim[]] = [[], [], []];
      for (const number of [1, 2]) {
        const run = new Run(parts, signal);
        await run.recognisers(number);
        const startedAt = performance.now();
        await run.upload(count);
        const outcomes = await run.settled();
        rates.push((count * 1_000) / (performance.now() - startedAt));
        shares.push(new Set(outcomes.map(({ recogniser }) => recogniser)).size);
        log(`${number} at work: ${rates.at(-1)?.toFixed(2)} photos a second`);
        claims.push(...run.lastClaims(outcomes, number === 1 ? "one: " : "two: "));
      }
      const ratio = (rates[1] ?? Number.NaN) / (rates[0] ?? Number.NaN);
      const run = new Run(parts, signal);
      const isInHand = async () => (await run.outcomes()).some(({ recogniser }) => recogniser === null);
      // While photos still come: on a busy machine all are recognised by the time that all are there.
      const killing = run.waitFor(isInHand).then((isSo) => [isSo, processes.kill() ?? 0] as const);
      const [[isSo, killed]] = await Promise.all([killing, run.upload(count)]);
      log(`process ${killed} was killed while there were photos without faces`);
      claims.push(...run.lastClaims(await run.settled(), "one killed: "));
      const isBack = await run.waitFor(() => processes.ids.length === 2 && !processes.ids.includes(killed));
      return {
        report: `${table([["processes", "photos/s"], ...rates.map((rate, index) => [`${index + 1}`, rate.toFixed(2)])])}\n
Two were ${ratio.toFixed(1)} times as fast as one${isRoomy ? "" : "; three cores were not free, so that is no claim here"}.`,
        claims: [
          claim("both of two had a share of the photos", shares.join(", then "), "1, then 2", shares.join() === "1,2"),
          ...(isRoomy ? [claim("two are faster than one", ratio.toFixed(2), "above 1.2", ratio > 1.2)] : []),
          claim("one was killed in the middle", isSo ? "yes" : "no", "yes", isSo),
          claim("another process has taken its place", isBack ? "yes" : "no", "yes", isBack),
          ...claims,
        ],
      };
    },
  };
}
