import { expect, setDefaultTimeout, test } from "bun:test";
import { Bench } from "./bench.ts";
import { type Focus, focuses } from "./focus.ts";
import { optionsFromEnvironment, report } from "./replay.ts";
import { runModel } from "./run-model.ts";

setDefaultTimeout(600_000);

test.each(Object.keys(focuses) as Focus[])(
  "[I3][I5][I8][I10][I11][I12][I13][I17][I18][I20] the broker does what its model does, whatever is done to it (%s)",
  async (focus) => {
    const options = optionsFromEnvironment(focus, { runs: 12, commands: 50 });
    if (options === undefined) return;
    await using bench = await Bench.open();
    const verdict = await runModel(bench, focuses[focus], options);
    const done = [...bench.done.values()].reduce((sum, count) => sum + count, 0);
    console.log(`${report(verdict, focus, "tests/model/model")}; ${done} commands of ${bench.done.size} kinds`);
    expect(report(verdict, focus, "tests/model/model")).toEndWith("everything agreed");
    // Runs in which there was nothing to do would agree as well.
    if (options.path === undefined) expect(done).toBeGreaterThan(verdict.runs);
  },
);
