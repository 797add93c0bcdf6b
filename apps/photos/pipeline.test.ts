import { expect, test } from "bun:test";
import { Visitor } from "@sluice/app-kit";
import { portrait, samplePhotos } from "@sluice/app-kit/pictures";
import sharp from "sharp";
import { timeZoneOf } from "./hours.ts";
import { mostFaces } from "./stages.ts";
import { startTestService, thousandFaces, uploadTo, within30s } from "./testing.ts";

const idle = { RECOGNISERS: "1", TIME_ZONE: timeZoneOf("idle") };

test("[U4] from upload to index: people, and a picture of nobody", async () => {
  await using service = await startTestService(idle);
  const { sql } = service.database;
  const visitor = new Visitor(service.url);
  await uploadTo(visitor, await portrait(1));
  await uploadTo(visitor, await portrait(1, "mirrored"));
  await uploadTo(visitor, samplePhotos()[2] ?? (await portrait(0)));
  const blank = { create: { width: 1_024, height: 1_024, channels: 3, background: "#000" } } as const;
  await uploadTo(visitor, { name: "nobody.png", bytes: await sharp(blank).png().toBuffer() });
  const entries = () => sql<{ name: string; people: string[]; times: number }[]>`
    select name, to_json(people) as people, times from photos.entry join photos.photo using (photo) order by uploaded_at`;
  await within30s("all are in the index", async () => (await entries()).length === 4);
  const [alone, mirrored, together, nobody] = await entries();
  expect(alone?.people).toHaveLength(1);
  expect(mirrored?.people).toEqual(alone?.people ?? []);
  expect(together?.people).toHaveLength(3);
  expect(together?.people).toContain(alone?.people[0] ?? "");
  expect(nobody).toMatchObject({ name: "nobody.png", people: [], times: 1 });
  expect(await (await visitor.ask("/live/gallery")).text()).toContain("no face found");

  // The albums follow on their schedule; the page shows the person's photos alone.
  const person = alone?.people[0] ?? "";
  await within30s("the album is made", async () => {
    const [album] =
      await sql`select photos from photos.album where person = ${person} and not is_stale and cover is not null`;
    return Number(album?.["photos"]) >= 3;
  });
  const page = await (await visitor.ask(`/live/gallery?person=${person}`)).text();
  expect(page).toContain("sample3.jpg");
  expect(page).not.toContain("nobody.png");
  expect(page).toMatch(/<rect x="[\d.]+"/);
}, 60_000);

test("a thousand faces: the surest are kept, the page says that there are more, and the next photo is not held up", async () => {
  await using service = await startTestService();
  const { sql } = service.database;
  const visitor = new Visitor(service.url);
  expect((await uploadTo(visitor, await thousandFaces())).status).toBe(201);
  expect((await uploadTo(visitor, await portrait(0))).status).toBe(201);
  await service.recognisers.set(1, "idle");
  const entries = () => sql<{ name: string; people: number; times: number }[]>`
    select name, cardinality(people) as people, times from photos.entry join photos.photo using (photo) order by people desc`;
  const faces = async () => Number((await sql`select count(*) from photos.face`)[0]?.["count"]);
  await within30s("the crowd is recognised", async () => (await faces()) >= mostFaces);
  await within30s("both are in the index", async () => (await entries()).length === 2);
  expect([...(await entries())]).toEqual([
    { name: "a thousand faces.jpg", people: mostFaces, times: 1 },
    { name: "person 1, as it is.jpg", people: 1, times: 1 },
  ]);
  expect(await (await visitor.ask("/live/gallery")).text()).toContain(`the ${mostFaces} surest faces of more`);
  expect(await faces()).toBe(mostFaces + 1);
  const waiting = async () =>
    Number((await sql`select sum(lag) as sum from sluice.lag where "group" <> 'albums'`)[0]?.["sum"]);
  await within30s("nothing waits", async () => (await waiting()) === 0);
  const [letters] = await sql`select count(*)::int as count from sluice.dead_letters`;
  expect(letters?.["count"]).toBe(0);
}, 90_000);

test("[U4] what a stage cannot do is given up with its reason, seen on the page, and tried again when asked", async () => {
  await using service = await startTestService({ RECOGNISERS: "0" });
  const { sql } = service.database;
  const visitor = new Visitor(service.url);
  const { photo } = await uploadTo(visitor, await portrait(0));
  const [row] = await sql<{ view: Uint8Array }[]>`select "view" from photos.photo`;
  await sql`update photos.photo set "view" = ${Buffer.from("broken on the disk")}`;
  await uploadTo(visitor, await portrait(1));
  await service.recognisers.set(1, "idle");
  const gallery = async () => (await visitor.ask("/live/gallery")).text();
  await within30s("one is given up, the other one is in the index", async () => {
    const page = await gallery();
    return page.includes("given up") && page.includes("in the index");
  });
  expect(await gallery()).toContain("unsupported image format");
  await sql`update photos.photo set "view" = ${Buffer.from(row?.view ?? [])} where photo = ${photo ?? ""}`;
  expect((await visitor.ask(`/photos/${photo}/retry`, { method: "POST" })).status).toBe(303);
  await within30s("both are in the index", async () => (await gallery()).split("in the index").length === 3);
  expect(await gallery()).not.toContain("given up");
}, 60_000);

test("a photo that is deleted on its way is left out by every stage, and nothing gets stuck", async () => {
  await using service = await startTestService();
  const { sql } = service.database;
  const visitor = new Visitor(service.url);
  const { photo } = await uploadTo(visitor, await portrait(0));
  await visitor.ask(`/photos/${photo}/delete`, { method: "POST" });
  await uploadTo(visitor, await portrait(0, "mirrored"));
  await service.recognisers.set(1, "idle");
  await within30s("nothing waits", async () => {
    const [row] = await sql`
      select (select count(*)::int from photos.entry) as entries,
        (select sum(lag)::int from sluice.lag where "group" in ('faces', 'clusters', 'index')) as lag`;
    return row?.["entries"] === 1 && row["lag"] === 0;
  });
  const [letters] = await sql`select count(*)::int as count from sluice.dead_letters`;
  expect(letters?.["count"]).toBe(0);
}, 60_000);

test("recognition works when nobody but a recogniser runs, and by the hours that it is told", async () => {
  for (const [hours, hour] of [
    ["busy", 13],
    ["normal", 20],
    ["idle", 2],
  ] as const) {
    for (let utc = 0; utc < 24; utc++) {
      const now = new Date(Date.UTC(2026, 10, 21, utc, 30));
      const format = new Intl.DateTimeFormat("en", {
        timeZone: timeZoneOf(hours, now),
        hour: "numeric",
        hourCycle: "h23",
      });
      expect(Number(format.format(now))).toBe(hour);
    }
  }
});
