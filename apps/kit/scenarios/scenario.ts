/** One sentence that a scenario puts to the test, and what was found. */
export interface Claim {
  /** e.g. `the queued way answers sooner than a third of the serial one`. */
  readonly claim: string;
  /** What was found, with its unit. */
  readonly measured: string;
  /** What had to be found. */
  readonly goal: string;
  readonly held: boolean;
}

/** A {@link Claim} in one line. */
export function claim(sentence: string, measured: string | number, goal: string | number, held: boolean): Claim {
  return { claim: sentence, measured: String(measured), goal: String(goal), held };
}

/** What a scenario ends with. */
export interface ScenarioResult {
  readonly claims: readonly Claim[];
  /** What was measured, as text for a terminal of 100 columns; the claims are printed below it. */
  readonly report: string;
}

/** What a scenario may use while it runs. */
export interface ScenarioContext {
  /** Says in one line what happens now: to the page, and to the terminal with `--once`. */
  log(line: string): void;
  /** Aborted when the app stops, and after the scenario's time limit. */
  readonly signal: AbortSignal;
}

/** Something that an app shows and checks, by a button on its page and by `--once`. */
export interface Scenario {
  /** For addresses: small letters, digits and dashes. */
  readonly name: string;
  readonly title: string;
  /** What it does and what it shows, in two or three sentences. */
  readonly what: string;
  /** After this long its signal is aborted, and it has failed. Default two minutes. */
  readonly limitMs?: number;
  /**
   * Runs it. May be run again and again on the same data. What does not hold is a claim that was not held; a failure is
   * only what keeps the scenario from its end.
   */
  run(context: ScenarioContext): Promise<ScenarioResult>;
}

/** A result with its judgement: passed when there are claims and all of them held. */
export interface JudgedResult extends ScenarioResult {
  readonly passed: boolean;
  readonly endedAt: string;
}

/** How a scenario stands, for a page. */
export interface ScenarioState {
  readonly name: string;
  readonly title: string;
  readonly what: string;
  readonly isRunning: boolean;
  /** What the run under way said, or the last one of this process. */
  readonly lines: readonly string[];
  readonly last: JudgedResult | undefined;
}
