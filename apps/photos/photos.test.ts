import { expect, test } from "bun:test";
import { Visitor } from "@sluice/app-kit";
import { portrait, samplePhotos } from "@sluice/app-kit/pictures";
import { startTestService, uploadTo, within30s } from "./testing.ts";

const png = async (side: number) => {
  const { default: sharp } = await import("sharp");
  return sharp({ create: { width: side, height: side, channels: 3, background: "#aabbcc" } })
    .png()
    .toBuffer();
};

test("[U2] an upload is a row and a message, one commit, with nobody there who recognises faces", async () => {
  await using service = await startTestService();
  const visitor = new Visitor(service.url);
  const photo = await portrait(0);
  expect(await uploadTo(visitor, photo)).toMatchObject({ status: 201, text: "uploaded" });
  await within30s("row and message are there, one each", async () => {
    const [counts] = await service.database.sql`
      select (select count(*)::int from photos.photo) as photos, (select count(*)::int from photos.photo p
        join topics."photo-uploads" m on m.value ->> 'photo' = p.photo::text) as both`;
    return counts?.["photos"] === 1 && counts["both"] === 1;
  });
  const view = await visitor.ask(`/photos/${(await uploadTo(visitor, photo)).photo}/view`);
  expect([view.status, view.headers.get("content-type")]).toEqual([200, "image/jpeg"]);
});

test("the same upload is one photo, however often it comes and from how many tabs", async () => {
  await using service = await startTestService();
  const visitor = new Visitor(service.url);
  await visitor.ask("/");
  const photo = await portrait(0);
  const answers = await Promise.all(Array.from({ length: 5 }, () => uploadTo(visitor, photo)));
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 200, 201]);
  expect(new Set(answers.map((answer) => answer.photo)).size).toBe(1);
  // Somebody else's is another photo.
  expect((await uploadTo(new Visitor(service.url), photo)).status).toBe(201);
});

test("bad input gets a clear answer, and nothing is kept of it", async () => {
  await using service = await startTestService();
  const visitor = new Visitor(service.url);
  await visitor.ask("/");
  const named = (name: string, bytes: Uint8Array) => ({ name, bytes });
  const broken = (await portrait(0)).bytes;
  expect(await uploadTo(visitor, named("a.jpg", Buffer.from("not a picture")))).toMatchObject({ status: 415 });
  expect(await uploadTo(visitor, named("a.jpg", broken.subarray(0, broken.length / 2)))).toMatchObject({ status: 422 });
  expect(await uploadTo(visitor, named("a.jpg", new Uint8Array(13 * 1_024 * 1_024)))).toMatchObject({ status: 413 });
  const post = (body: FormData | string, headers: Record<string, string> = {}) =>
    visitor.ask("/photos", { method: "POST", headers: { accept: "application/json", ...headers }, body });
  expect((await post("{}", { "content-type": "application/json" })).status).toBe(415);
  expect((await post("--x", { "content-type": "multipart/form-data" })).status).toBe(400);
  expect((await post(new FormData())).status).toBe(422);
  const text = new FormData();
  text.append("photo", "text");
  expect((await post(text)).status).toBe(422);
  // 50 MB: refused by its length, before it is read.
  const body = new FormData();
  body.append("photo", new File([new Uint8Array(50_000_000)], "large.jpg"));
  const large = await post(body).then(
    (answer) => answer.status,
    () => 413,
  );
  expect(large).toBe(413);
  const [row] = await service.database.sql`
    select (select count(*)::int from photos.photo) as photos, (select count(*)::int from topics."photo-uploads") as messages`;
  expect(row).toEqual({ photos: 0, messages: 0 });

  // Its name is text wherever it is shown.
  await uploadTo(visitor, named("<script>\u0000'", await png(40)));
  const page = await (await visitor.ask("/")).text();
  expect(page).toContain("&lt;script&gt;&#39;");
  expect(page).not.toContain("<script>'");
});

test("a plain form works without scripts", async () => {
  await using service = await startTestService();
  const visitor = new Visitor(service.url);
  const body = new FormData();
  for (const [index, { name, bytes }] of samplePhotos().slice(0, 2).entries()) {
    body.append("photo", new File([index === 0 ? Uint8Array.from(bytes) : "nothing"], name));
  }
  const answer = await visitor.ask("/photos", { method: "POST", body });
  expect(answer.status).toBe(415);
  expect(await answer.text()).toMatch(/sample1.jpg: uploaded[\s\S]*sample2.jpg: this is no JPEG, PNG or WebP picture/);
  const samples = await visitor.ask("/samples", { method: "POST" });
  expect(await samples.text()).toContain("sample1.jpg: is here already");
});

test("a session sees and deletes its own photos; a forged one nothing at all", async () => {
  await using service = await startTestService();
  const [ada, bob] = [new Visitor(service.url), new Visitor(service.url)];
  await bob.ask("/");
  const { photo } = await uploadTo(ada, await portrait(0));
  const owner = /=([0-9a-f-]{36})\./.exec(ada.cookie ?? "")?.[1];
  expect((await ada.ask(`/photos/${photo}/original`)).status).toBe(200);
  expect(await (await bob.ask("/live/gallery")).text()).not.toContain(`${photo}`);
  const signature = (bob.cookie ?? "").split(".").slice(1).join(".");
  const forgers = [`photos-session=${owner}`, `photos-session=${owner}.${signature}`, "photos-session=x"];
  const others = [bob, new Visitor(service.url), ...forgers.map((cookie) => new Visitor(service.url, cookie))];
  for (const other of others) {
    for (const which of ["view", "thumbnail", "original"]) {
      expect((await other.ask(`/photos/${photo}/${which}`)).status).toBe(404);
    }
    for (const act of ["delete", "retry"]) {
      const status = (await other.ask(`/photos/${photo}/${act}`, { method: "POST" })).status;
      expect([303, 404]).toContain(status);
    }
  }
  for (const cookie of forgers) {
    const forger = new Visitor(service.url, cookie);
    expect(await uploadTo(forger, await portrait(1))).toMatchObject({ status: 401 });
    expect((await forger.ask("/live/gallery")).status).toBe(401);
  }
  expect((await ada.ask(`/photos/${photo}/delete`, { method: "POST" })).status).toBe(303);
  expect((await ada.ask(`/photos/${photo}/view`)).status).toBe(404);
  expect((await ada.ask("/photos/x/view")).status).toBe(404);
});

test("with scenarios switched off, nobody stops recognition from the page", async () => {
  await using service = await startTestService({}, { refusal: "switched off" });
  const visitor = new Visitor(service.url);
  const change = { method: "POST", body: new URLSearchParams({ count: "2" }) };
  expect((await visitor.ask("/recognition", change)).status).toBe(403);
  expect(await (await visitor.ask("/")).text()).not.toContain('action="/recognition"');
  expect(service.recognisers.processes.count).toBe(0);
});
