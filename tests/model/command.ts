import fc from "fast-check";
import type { BrokerModel } from "./broker-model.ts";
import { expected } from "./observation.ts";
import { agree, type System } from "./system.ts";

/** What commands are checked against. */
export interface World {
  readonly model: BrokerModel;
}

export type ModelCommand = fc.AsyncCommand<World, System>;

/** A command with any parameters. */
export interface NamedCommand<Command = ModelCommand> {
  readonly name: string;
  readonly arbitrary: fc.Arbitrary<Command>;
}

/** What a command may be given: numbers and words, all of which are chosen by fast-check, so that a run repeats itself. */
type Parameters = Readonly<Record<string, unknown>>;

/**
 * Declares a command: does the same to the model and to the system, and compares what both say; afterwards everything that there is to see
 * is compared as well.
 *
 * @param when whether it can be done as things are; only the model is asked
 */
export function command<P extends Parameters>(
  name: string,
  parameters: { readonly [Name in keyof P]: fc.Arbitrary<P[Name]> },
  run: (model: BrokerModel, system: System, parameters: P) => Promise<void>,
  when: (model: BrokerModel, parameters: P) => boolean = () => true,
): NamedCommand {
  const arbitrary = fc.record<P>(parameters).map((chosen) => ({
    check: ({ model }: World) => when(model, chosen),
    async run({ model }: World, system: System) {
      try {
        await run(model, system, chosen);
      } catch (error) {
        if (error instanceof NothingToDo) return;
        throw error;
      }
      system.bench.done.set(name, (system.bench.done.get(name) ?? 0) + 1);
      const [there, should] = [await system.observe(), expected(model)];
      for (const part of Object.keys(should) as (keyof typeof should)[]) agree(part, there[part], should[part]);
    },
    toString: () => `${name}(${Object.keys(chosen).length === 0 ? "" : JSON.stringify(chosen)})`,
  }));
  return { name, arbitrary };
}

/** As things are there is nothing that the command could be done to. */
export class NothingToDo extends Error {}

/** One of a list by any number. */
export function pick<Item>(list: readonly Item[], number: number): Item | undefined {
  return list[number % list.length];
}

/** The same of a list that grows at its end: 0 is the newest. */
export function pickLast<Item>(list: readonly Item[], number: number): Item | undefined {
  return list[list.length - 1 - (number % list.length)];
}
