import { toError } from "@sluice/kernel";
import type { HeldStatement } from "@sluice/testkit";
import type { App, RunningApp } from "sluice";
import { outcomes, outcomesAt } from "./outcomes.ts";
import { Room } from "./room.ts";
import { nameOf } from "./statement-names.ts";

/** A kind of work, in which statements of its own are sent. */
export interface Scenario {
  readonly name: string;
  /** Statements that are struck here. */
  readonly statements: readonly string[];
  /** Whether two outcomes are tried at each statement, by turns. Default: all. See {@link outcomesAt}. */
  readonly isByTurns?: boolean;
  /** The app that works: the victim, and who takes its place. */
  app(room: Room, worker: string): App;
  /** Whether each round starts and closes the victim; else it works on through all of them. */
  readonly restarts?: boolean;
  /** Before the first app. */
  prepare?(room: Room): Promise<void>;
  /** One round: makes the victim work, and notes what is owed. Faults come while it runs; it may ask again where it is told of one. */
  round(room: Room, victim: RunningApp): Promise<void>;
  /** What is wrong, besides effects. */
  check?(room: Room): Promise<string[]>;
}

/** What a scenario has gone through. */
export interface Tour {
  /** Every statement that the victim sent, by name. */
  readonly seen: ReadonlySet<string>;
  /** Statements that have no name. */
  readonly unnamed: ReadonlySet<string>;
  /** `statement: outcome`, for each that came. */
  readonly struck: readonly string[];
  readonly problems: readonly string[];
}

/** Goes over the statements of a scenario, and at each over its outcomes: one round for each, several side by side. */
async function tour(scenario: Scenario, lanes = 1): Promise<Tour> {
  const seen = new Set<string>();
  const unnamed = new Set<string>();
  const problems: string[] = [];
  const struck: string[] = [];
  const cases = casesOf(scenario);
  const observe = (statement: string) => {
    const name = nameOf(statement);
    if (name === undefined) unnamed.add(statement);
    else seen.add(name);
  };
  const lane = async () => {
    await using walk = await Walk.open(scenario);
    walk.room.proxy.observe = observe;
    await walk.begin();
    // Once without a fault, for what comes only once something has been sent.
    await walk.round();
    for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
      const label = `${scenario.name}, ${next.statement}: ${next.outcome}`;
      try {
        await walk.strike(next.statement, next.outcome);
        struck.push(`${next.statement}: ${next.outcome}`);
        const wrong = await walk.wrong();
        problems.push(...wrong.map((problem) => `${label}: ${problem}`));
        if (wrong.length > 0) return;
      } catch (error) {
        problems.push(`${label}: ${toError(error).message}`);
        // Whatever state it left, the others are not to pay for it.
        return;
      }
    }
  };
  await Promise.all(
    Array.from({ length: lanes }, () =>
      lane().catch((error: unknown) => {
        problems.push(`${scenario.name}: ${toError(error).stack}`);
      }),
    ),
  );
  return { seen, unnamed, struck, problems };
}

function casesOf({ statements, isByTurns = false }: Scenario): { statement: string; outcome: string }[] {
  return statements.flatMap((statement, number) =>
    outcomesAt(statement, number, isByTurns).map((outcome) => ({ statement, outcome })),
  );
}

/** One scenario under way. */
class Walk {
  readonly room: Room;
  readonly #scenario: Scenario;
  #victim: RunningApp | undefined;

  private constructor(scenario: Scenario, room: Room) {
    this.#scenario = scenario;
    this.room = room;
  }

  static async open(scenario: Scenario): Promise<Walk> {
    const room = await Room.open();
    await scenario.prepare?.(room);
    return new Walk(scenario, room);
  }

  readonly #make = (worker: string): App => this.#scenario.app(this.room, worker);

  async begin(): Promise<void> {
    if (this.#scenario.restarts !== true) this.#victim = await this.room.startVictim(this.#make);
  }

  /** One round, from its beginning to everything that is owed. */
  async round(): Promise<void> {
    const victim = this.#victim ?? (await this.room.startVictim(this.#make));
    await this.#scenario.round(this.room, victim);
    await this.room.settled();
    if (this.#victim === undefined) await victim.close();
  }

  async strike(statement: string, outcome: string): Promise<void> {
    const { room } = this;
    const act = outcomes[outcome];
    if (act === undefined) throw new Error(`no such outcome: ${outcome}`);
    const held = Promise.withResolvers<HeldStatement>();
    let hasCome = false;
    void room.proxy
      .hold((said) => nameOf(said) === statement)
      .then((caught) => {
        hasCome = true;
        held.resolve(caught);
      });
    const fault = held.promise.then((caught) => act(room, caught, this.#make));
    const until = performance.now() + 40_000;
    const rounds = async () => {
      do {
        if (performance.now() > until) throw new Error("the statement did not come");
        await this.round();
      } while (!hasCome);
      await fault;
      await room.settled();
    };
    // A fault that fails tells more than the round that it spoils.
    const failed = rounds().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    await Promise.race([fault, failed]);
    const failure = await failed;
    if (failure !== undefined) throw failure.error;
  }

  async wrong(): Promise<string[]> {
    return [...(await this.room.wrong()), ...((await this.#scenario.check?.(this.room)) ?? [])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#victim?.close();
    await this.room[Symbol.asyncDispose]();
  }
}

/** Goes through scenarios side by side. Gives every problem, and says how much there was to do. */
export async function problemsOf(scenarios: readonly Scenario[]): Promise<readonly string[]> {
  const tours = await Promise.all(
    scenarios.map(async (scenario) => {
      const planned = casesOf(scenario).length;
      const { unnamed, struck, problems } = await tour(
        scenario,
        Math.ceil(scenario.statements.length / statementsPerLane),
      );
      const nameless = [...unnamed].map(
        (statement) => `${scenario.name}: a statement has no name: ${statement.slice(0, 200)}`,
      );
      const isShort = problems.length === 0 && struck.length !== planned;
      const short = isShort ? [`${scenario.name}: ${struck.length} of ${planned} came`] : [];
      return { struck: struck.length, problems: [...problems, ...nameless, ...short] };
    }),
  );
  const statements = scenarios.flatMap((scenario) => scenario.statements).length;
  const struck = tours.reduce((sum, one) => sum + one.struck, 0);
  console.log(`${statements} statements, ${struck} faults`);
  return tours.flatMap(({ problems }) => problems);
}

/** What one lane, which has a database of its own, goes over. */
const statementsPerLane = 6;
