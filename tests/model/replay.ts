import fc from "fast-check";

/** What a run of a model is to do. */
export interface RunOptions {
  /** The same seed gives the same runs. */
  readonly seed: number;
  /** The one run to repeat, as a {@link Verdict} gives it. */
  readonly path?: string | undefined;
  readonly runs: number;
  /** At most so many commands a run. */
  readonly commands: number;
  /** Whether a failing run is made shorter. Default: it is. */
  readonly shrinks?: boolean;
  /** What is not done by then, runs and shortening, is left. Default: no end. */
  readonly withinMs?: number | undefined;
  /** Whether runs may end by then: a short one, or one in which nothing could be done, shows nothing. Default: they may. */
  readonly isEnough?: () => boolean;
}

/** What came of it. */
export interface Verdict {
  readonly seed: number;
  readonly runs: number;
  /** `undefined`: everything agreed. */
  readonly failure: Failure | undefined;
}

/** A run that failed, as short as it could be made. */
export interface Failure {
  /** Repeats exactly this run, together with the seed. */
  readonly path: string;
  /** The commands that were run, in their order. */
  readonly commands: readonly string[];
  readonly error: string;
}

/**
 * Checks a property of commands. fast-check names a failing run by a seed and a path; which of its commands had been run when it failed,
 * and so what shrinking left out, is a second path. Both together, with a `/` between them, repeat it.
 */
export async function check<Model extends object, Real>(
  { seed, path, runs, commands: maxCommands, shrinks = true, withinMs, isEnough = () => true }: RunOptions,
  commands: fc.Arbitrary<fc.AsyncCommand<Model, Real>>[],
  run: (commands: Iterable<fc.AsyncCommand<Model, Real>>) => Promise<void>,
): Promise<Verdict> {
  // (The second may hold a `/` of its own.)
  const [, runPath, replayPath] = /^([^/]*)\/(.*)$/.exec(path ?? "") ?? [];
  const sequence = fc.commands(commands, {
    maxCommands,
    size: "max",
    ...(replayPath === undefined ? {} : { replayPath }),
  });
  const endsAt = performance.now() + (withinMs ?? Number.POSITIVE_INFINITY);
  let made = 0;
  // What is left undone counts as agreed: the run that failed last is the shortest then.
  const runInTime: typeof run = async (chosen) => {
    if (performance.now() > endsAt && isEnough()) return;
    made += 1;
    await run(chosen);
  };
  const details = await fc.check(fc.asyncProperty(sequence, runInTime), {
    seed,
    numRuns: runPath === undefined ? runs : 1,
    endOnFailure: runPath !== undefined || !shrinks,
    ...(runPath === undefined ? {} : { path: runPath }),
  });
  if (!details.failed) return { seed, runs: made, failure: undefined };
  const counterexample = details.counterexample?.[0];
  const [, shrunk = ""] = /replayPath="([^"]*)"/.exec(String(counterexample)) ?? [];
  const thrown = details.errorInstance;
  return {
    seed,
    runs: details.numRuns,
    failure: {
      path: replayPath === undefined ? `${details.counterexamplePath}/${shrunk}` : (path ?? ""),
      commands: String(counterexample)
        .replace(/\/\*.*\*\//, "")
        .split(/,(?=\w+\()/),
      error: thrown instanceof Error ? thrown.message : String(thrown),
    },
  };
}

/** How a failing run is told: what went wrong, by which commands, and how to see it again. */
export function report({ seed, runs, failure }: Verdict, focus: string, file: string): string {
  if (failure === undefined) return `${focus}, seed ${seed}, ${runs} runs: everything agreed`;
  return [
    failure.error,
    ...failure.commands.map((command, index) => `  ${index + 1}. ${command}`),
    `again: MODEL_SEED=${seed} MODEL_PATH='${focus}/${failure.path}' npm test -- ${file}`,
  ].join("\n");
}

/** What the environment says: MODEL_SEED, MODEL_PATH, MODEL_RUNS. `undefined`: to repeat a run of another focus. */
export function optionsFromEnvironment(
  focus: string,
  defaults: { readonly runs: number; readonly commands: number },
): RunOptions | undefined {
  const { MODEL_SEED, MODEL_PATH, MODEL_RUNS } = process.env;
  if (MODEL_PATH && !MODEL_PATH.startsWith(`${focus}/`)) return undefined;
  return {
    // Another one each time: what one run misses the next may find.
    seed: MODEL_SEED ? Number(MODEL_SEED) : Math.trunc(Math.random() * 0x7fffffff),
    path: MODEL_PATH ? MODEL_PATH.slice(focus.length + 1) : undefined,
    runs: MODEL_RUNS ? Number(MODEL_RUNS) : defaults.runs,
    commands: defaults.commands,
  };
}
