import type fc from "fast-check";
import type { ModelCommand, NamedCommand } from "./command.ts";
import { groupCommands } from "./group-commands.ts";
import { logCommands } from "./log-commands.ts";
import { ownerCommands } from "./owner-commands.ts";

const commands = [...logCommands, ...ownerCommands, ...groupCommands];

/** How often commands come beside each other, by name. */
export type Weights = Readonly<Record<string, number>>;

/**
 * What runs are about: of all commands those that have to do with each other, so that a run gets deep, and how often each of them comes
 * beside the others. `everything` has all of them alike.
 */
export const focuses = {
  sending: {
    ...{
      send: 4,
      sendAfterWhatIsNotThere: 1,
      repeat: 3,
      lateFirstTry: 2,
      sendInTransaction: 3,
      endTransaction: 3,
      relay: 3,
    },
    ...{
      sendLater: 2,
      recall: 2,
      moveDue: 2,
      roundOfAnOldOwner: 1,
      guard: 2,
      handle: 2,
      commit: 2,
      roll: 2,
      passHours: 1,
      read: 1,
    },
  },
  owning: {
    ...{
      send: 3,
      handle: 6,
      commit: 5,
      take: 4,
      sever: 3,
      release: 1,
      fail: 1,
      move: 1,
      clone: 1,
      join: 1,
      pause: 1,
      resume: 1,
    },
    ...{ survey: 1, roll: 1 },
  },
  failing: {
    ...{
      send: 4,
      fail: 6,
      giveUp: 3,
      beginRetry: 5,
      settleRetry: 6,
      passHours: 2,
      commit: 1,
      take: 1,
      sever: 1,
      handle: 1,
    },
    ...{ redrive: 4, discard: 1, consumeAgain: 1, beginRedriven: 4, settleRedriven: 5, move: 1 },
  },
  keeping: {
    ...{
      send: 4,
      roll: 4,
      trim: 5,
      passHours: 4,
      protect: 2,
      handle: 3,
      commit: 3,
      take: 1,
      read: 3,
      move: 2,
      join: 1,
    },
    ...{ consumeAgain: 1, repeat: 1, sendLater: 1, moveDue: 1 },
  },
  everything: Object.fromEntries(commands.map(({ name }) => [name, 1])),
} as const satisfies Readonly<Record<string, Weights>>;

export type Focus = keyof typeof focuses;

/** Commands by name, each as often as it is to come. */
export function commandsOf(weights: Weights): fc.Arbitrary<ModelCommand>[] {
  return Object.entries(weights).flatMap(([name, weight]) => {
    const found: NamedCommand | undefined = commands.find((command) => command.name === name);
    if (found === undefined) throw new Error(`there is no command ${name}`);
    return Array.from({ length: weight }, () => found.arbitrary);
  });
}
