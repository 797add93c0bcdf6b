import { expect, test } from "bun:test";
import { z } from "zod";
import { optional, readOptions } from "./options.ts";
import { StartError } from "./start-error.ts";

const own = z.object({ COLOUR: optional(z.enum(["red", "blue"], "must be red or blue")) });
const read = (parameters: readonly string[], variables: Record<string, string>) =>
  readOptions(own, "usage: …", parameters, variables);

test("without arguments and variables everything is on this machine", () => {
  expect(read([], {})).toEqual({
    command: "serve",
    databaseUrl: undefined,
    host: "127.0.0.1",
    port: undefined,
    scenariosAllowed: true,
    stopsWithStdin: false,
    environment: {},
  });
  const set = { PORT: "0", SCENARIOS: "off", STOP_WITH_STDIN: "1", COLOUR: "red", HOST: "" };
  expect(read(["--once"], set)).toMatchObject({
    command: "once",
    port: 0,
    host: "127.0.0.1",
    scenariosAllowed: false,
    stopsWithStdin: true,
    environment: { COLOUR: "red" },
  });
});

test.each([
  { parameters: ["--twice"], variables: {}, says: "--twice" },
  { parameters: ["--once", "now"], variables: {}, says: "now" },
  { parameters: [], variables: { PORT: "99999" }, says: "PORT" },
  { parameters: [], variables: { PORT: "http" }, says: "PORT must be a number" },
  { parameters: [], variables: { SCENARIOS: "maybe" }, says: "SCENARIOS must be on or off" },
  { parameters: [], variables: { COLOUR: "green", DATABASE_URL: "mysql://x" }, says: "DATABASE_URL must begin with" },
  { parameters: [], variables: { COLOUR: "green", DATABASE_URL: "mysql://x" }, says: "COLOUR must be red or blue" },
])("refused with exit code 64: $says", ({ parameters, variables, says }) => {
  const refuse = () => read(parameters, variables);
  expect(refuse).toThrow(StartError);
  expect(refuse).toThrow(says);
});
