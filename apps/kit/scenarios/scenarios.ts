import { Hono } from "hono";
import { errorLine, type Logger } from "sluice";
import type { Database } from "../database.ts";
import { keepResult, lastResults } from "./results.ts";
import type { JudgedResult, Scenario, ScenarioState } from "./scenario.ts";

const mostLines = 200;

/** Why a scenario does not begin; `status` is the answer to whoever asked over HTTP. */
export class ScenarioRefusal extends Error {
  override readonly name = "ScenarioRefusal";
  readonly status: 404 | 409;

  constructor(message: string, status: 404 | 409) {
    super(message);
    this.status = status;
  }
}

/** What {@link Scenarios} works with. */
export interface ScenariosOptions {
  /** The app's name. */
  readonly app: string;
  readonly database: Database;
  readonly logger: Logger;
  readonly list: readonly Scenario[];
  /** Why none of them may be started here, e.g. because messages would go out to real people. Default: they may. */
  readonly refusal?: string | undefined;
}

/** An app's scenarios: one of them runs at a time, over HTTP or in the terminal; the results stay in the database. */
export class Scenarios {
  readonly list: readonly Scenario[];
  readonly #options: ScenariosOptions;
  readonly #stop = new AbortController();
  #current: { readonly name: string; readonly run: Promise<JudgedResult> } | undefined;
  readonly #lines = new Map<string, string[]>();

  constructor(options: ScenariosOptions) {
    this.#options = options;
    this.list = options.list;
  }

  /**
   * Begins one; `run` of the result resolves when it has ended, also when it has failed, which is a claim that did not hold.
   *
   * Fails with {@link ScenarioRefusal}: there is none of this name, one runs already, another process of the app would take a
   * share of the messages, or they are refused here.
   */
  async start(name: string, onLine: (line: string) => void = () => undefined): Promise<{ run: Promise<JudgedResult> }> {
    const scenario = this.list.find((one) => one.name === name);
    if (scenario === undefined) throw new ScenarioRefusal(`there is no scenario ${name}`, 404);
    const { refusal, database } = this.#options;
    if (refusal !== undefined) throw new ScenarioRefusal(refusal, 409);
    if (await database.isShared()) {
      throw new ScenarioRefusal("another process of this app runs on this database and would take its share", 409);
    }
    if (this.#current !== undefined) throw new ScenarioRefusal(`${this.#current.name} is running`, 409);
    this.#stop.signal.throwIfAborted();
    const lines: string[] = [];
    this.#lines.set(name, lines);
    const log = (line: string) => {
      if (lines.push(line) > mostLines) lines.shift();
      onLine(line);
    };
    const run = this.#run(scenario, log).finally(() => {
      this.#current = undefined;
    });
    this.#current = { name, run };
    return { run };
  }

  /** How each of them stands. */
  async states(): Promise<{ readonly refusal: string | null; readonly scenarios: readonly ScenarioState[] }> {
    const results = await lastResults(this.#options.database, this.#options.app);
    const scenarios = this.list.map(({ name, title, what }) => ({
      name,
      title,
      what,
      isRunning: this.#current?.name === name,
      lines: this.#lines.get(name) ?? [],
      last: results.get(name),
    }));
    return { refusal: this.#options.refusal ?? null, scenarios };
  }

  /** `GET /` tells how they stand; `POST /:name` begins one and answers 202 at once. */
  routes(): Hono {
    const routes = new Hono();
    routes.get("/", async (c) => c.json(await this.states(), 200, { "cache-control": "no-store" }));
    routes.post("/:name", async (c) => {
      try {
        const { run } = await this.start(c.req.param("name"));
        run.catch((error: unknown) => this.#options.logger.log("error", "a scenario's result was lost", { error }));
        return c.json({ status: "started" }, 202);
      } catch (error) {
        if (error instanceof ScenarioRefusal) return c.json({ error: error.message }, error.status);
        throw error;
      }
    });
    return routes;
  }

  /** Aborts the one that runs and waits for its end. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("the app stops"));
    await this.#current?.run.catch(() => undefined);
  }

  async #run(scenario: Scenario, log: (line: string) => void): Promise<JudgedResult> {
    const limitMs = scenario.limitMs ?? 120_000;
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(limitMs)]);
    const result = await Promise.race([scenario.run({ log, signal }), rejection(signal)]).catch((error: unknown) => {
      if (this.#stop.signal.aborted) throw error;
      this.#options.logger.log("error", "a scenario failed", { scenario: scenario.name, error });
      return {
        claims: [{ claim: "the scenario came to its end", measured: errorLine(error), goal: "it ends", held: false }],
        report: "",
      };
    });
    const passed = result.claims.length > 0 && result.claims.every((claim) => claim.held);
    const judged = { ...result, passed, endedAt: new Date().toISOString() };
    await keepResult(this.#options.database, this.#options.app, scenario.name, judged);
    log(passed ? "passed" : "FAILED");
    return judged;
  }
}

/** Fails when the signal is aborted: a scenario that does not look at its signal must not hold up the others for ever. */
function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
