import { expect, test } from "bun:test";
import { switchable } from "@sluice/app-kit";
import { app, silentLogger } from "sluice";
import { coloursConsumer } from "../stages.ts";
import { startTestService } from "../testing.ts";
import { Run } from "./run.ts";

test("the checks see a photo that is missing, and one that a stage has committed twice", async () => {
  await using service = await startTestService();
  const { database, recognisers, url } = service;
  const late = app({ name: "colours", consumers: [coloursConsumer(database)] });
  const colours = switchable(late, { url: "postgres://nobody@127.0.0.1:1/none", logger: silentLogger });
  const run = new Run({ database, recognisers, colours, url: () => url }, AbortSignal.timeout(30_000));
  await run.upload(2);
  const judged = async () => run.lastClaims(await run.outcomes()).map(({ held, measured }) => `${held} ${measured}`);
  expect(await judged()).toEqual(["true 0", "false 0, 0 twice"]);
  await database.sql`insert into photos.entry (photo, owner, people) select photo, owner, '{}' from photos.photo`;
  expect(await judged()).toEqual(["true 0", "true 2, 0 twice"]);
  await database.sql`update photos.photo set recognised = 2 where photo = ${run.photos[0] ?? ""}`;
  expect(await judged()).toEqual(["true 0", "false 2, 1 twice"]);
});
