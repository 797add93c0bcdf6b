import { expect, test } from "bun:test";
import { callingScenarios } from "./failpoints/calling-scenarios.ts";
import { excused } from "./failpoints/excused.ts";
import { workingScenarios } from "./failpoints/scenarios.ts";
import { nameOf, statementNames } from "./failpoints/statement-names.ts";

/** Statements that are in no scenario and not excused, or both, or that do not exist. */
function misplaced(names: readonly string[]): string[] {
  const struck = [...workingScenarios, ...callingScenarios].flatMap(({ statements }) => statements);
  const spared = Object.values(excused).flat();
  const places = [...struck, ...spared];
  return [
    ...names
      .filter((name) => !places.includes(name))
      .map((name) => `${name} is struck nowhere, and nothing says why not`),
    ...places.filter((name) => !names.includes(name)).map((name) => `${name} is no statement`),
    ...places.filter((name, index) => places.indexOf(name) !== index).map((name) => `${name} has two places`),
  ];
}

test("every statement that the libraries send is struck, or it says why not", () => {
  expect(statementNames.length).toBeGreaterThan(150);
  expect(misplaced(statementNames)).toEqual([]);
});

test("the check sees a statement that is new, one that is gone, and one that nobody has named", () => {
  const [first = "", ...others] = statementNames;
  expect(misplaced(["broker/new", ...others])).toEqual([
    "broker/new is struck nowhere, and nothing says why not",
    `${first} is no statement`,
  ]);
  expect(nameOf("select sluice.something_new($1)")).toBeUndefined();
});
