import { expect, test } from "bun:test";
import { Visitor } from "@sluice/app-kit";
import { portrait } from "@sluice/app-kit/pictures";
import { startTestService, type TestService, uploadTo } from "./testing.ts";

/** A visitor with one photo, and the person on it: by the stages' own functions, with a face that nobody had to recognise. */
async function visitorWithPerson({ url, database }: TestService) {
  const visitor = new Visitor(url);
  const { photo } = await uploadTo(visitor, await portrait(0));
  const face = { number: 0, x: 0.3, y: 0.3, width: 0.2, height: 0.2, score: 0.9, descriptor: Array(128).fill(0.1) };
  await database.sql`select photos.keep_faces(${photo ?? ""}, ${JSON.stringify([face])}::text::json, false, 'test')`;
  await database.sql`select photos.cluster(${photo ?? ""}, 0.6), photos.index_photo(${photo ?? ""})`;
  await database.sql`select photos.make_albums()`;
  const [row] = await database.sql<{ person: string }[]>`select person from photos.face where photo = ${photo ?? ""}`;
  return { visitor, person: row?.person ?? "" };
}

const named = (visitor: Visitor, person: string, name: string, accept = "text/html") =>
  visitor.ask(`/people/${person}/name`, { method: "POST", headers: { accept }, body: new URLSearchParams({ name }) });

async function namesIn({ database }: TestService): Promise<readonly (string | null)[]> {
  const rows = await database.sql<{ name: string | null }[]>`select name from photos.person`;
  return rows.map(({ name }) => name);
}

test("the owner names a person: the album, the faces and the person's page say so", async () => {
  await using service = await startTestService();
  const { visitor, person } = await visitorWithPerson(service);
  expect(await (await visitor.ask(`/?person=${person}`)).text()).toContain("Photos of person 1");
  const answer = await named(visitor, person, "  Ada <b>Lovelace</b> ");
  expect([answer.status, answer.headers.get("location")]).toEqual([303, `/?person=${person}`]);
  const page = await (await visitor.ask(`/?person=${person}`)).text();
  expect(page).toContain("Photos of Ada &lt;b&gt;Lovelace&lt;/b&gt;");
  expect(page).toContain('<span class="person">Ada &lt;b&gt;Lovelace&lt;/b&gt;</span>');
  expect(page).toContain('aria-label="Find Ada &lt;b&gt;Lovelace&lt;/b&gt;"');
  expect(page).not.toContain("Person 1");
  const json = { method: "POST", headers: { "content-type": "application/json" }, body: '{"name":"Grace"}' };
  expect(await (await visitor.ask(`/people/${person}/name`, json)).json()).toEqual({ name: "Grace" });
});

test("what is no name is refused in a sentence, and the name of before stays", async () => {
  await using service = await startTestService();
  const { visitor, person } = await visitorWithPerson(service);
  await named(visitor, person, "Ada");
  for (const [name, reason] of [
    ["   ", "Please write a name."],
    ["x".repeat(61), "At most 60 characters, please."],
    ["a\u0000b", "This holds characters that cannot be shown."],
  ] as const) {
    const page = await named(visitor, person, name);
    expect([page.status, (await page.text()).includes(`Name: ${reason}`)]).toEqual([400, true]);
    expect(await (await named(visitor, person, name, "*/*")).json()).toEqual({ error: reason });
  }
  const body = { method: "POST", headers: { "content-type": "application/json" }, body: "Ada" };
  expect((await visitor.ask(`/people/${person}/name`, body)).status).toBe(415);
  expect((await visitor.ask("/people/x/name", { method: "POST", body: new URLSearchParams() })).status).toBe(404);
  expect(await namesIn(service)).toEqual(["Ada"]);
});

test("a person is named by the owner's session alone", async () => {
  await using service = await startTestService();
  const { person } = await visitorWithPerson(service);
  const bob = new Visitor(service.url);
  await bob.ask("/");
  expect((await named(bob, person, "Bob's")).status).toBe(404);
  expect((await named(new Visitor(service.url), person, "Nobody's")).status).toBe(404);
  expect((await named(new Visitor(service.url, "photos-session=x"), person, "Forged")).status).toBe(401);
  expect(await namesIn(service)).toEqual([null]);
});
