import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { eventually, noBrowser, openBrowser, startOnTestDatabase, startProcess } from "@sluice/app-kit/testing";
import { testDatabase } from "@sluice/testkit";
import { sampleApps } from "./apps.ts";
import { startFront } from "./front.ts";

const main = join(import.meta.dirname, "main.ts");

/** The addresses of the apps, as the front prints them. */
function addressesIn(output: string): string[] {
  return sampleApps.map((app) => new RegExp(`^ {2}${app.name} +(http:\\S+)/$`, "m").exec(output)?.[1] ?? "");
}

async function hasEnded(url: string): Promise<boolean> {
  return await fetch(`${url}/health`).then(
    () => false,
    () => true,
  );
}

test("[A8] SIGTERM drains every app and leaves nothing running", async () => {
  await using database = await testDatabase();
  await using front = startProcess(main, [], { DATABASE_URL: database.url, PORT: "0" });
  const url = await front.url;
  const page = await (await fetch(url)).text();
  for (const { title } of sampleApps) expect(page).toContain(title);
  const addresses = addressesIn(front.output());
  expect(addresses.length).toBeGreaterThan(0);
  for (const address of addresses) expect((await fetch(`${address}/health`)).status).toBe(200);
  front.kill("SIGTERM");
  expect(await front.exited).toBe(0);
  for (const address of addresses) expect(await hasEnded(address)).toBe(true);
  expect(front.errors()).toBe("");
}, 60_000);

test("[A8] the apps end when the front is killed", async () => {
  await using database = await testDatabase();
  await using front = startProcess(main, [], { DATABASE_URL: database.url, PORT: "0" });
  await front.url;
  const addresses = addressesIn(front.output());
  front.kill("SIGKILL");
  for (const address of addresses) await eventually(`${address} has ended`, () => hasEnded(address));
  // The test database fails the test when one of them is still connected.
}, 60_000);

const root = join(import.meta.dirname, "..", "..");

test.each([
  ["npm start is", ["node", join(root, "scripts", "start.mjs")]],
  ["npm itself is", ["npm", "start", "--silent"]],
] as const)(
  "[A8] the front and its apps end when %s killed, too",
  async (_, [program, ...parameters]) => {
    await using database = await testDatabase();
    const starting = spawn(program, parameters, {
      cwd: root,
      env: { ...process.env, DATABASE_URL: database.url, PORT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    starting.stdout.setEncoding("utf8").on("data", (piece: string) => {
      output += piece;
    });
    const ended = new Promise((resolve) => starting.once("exit", resolve));
    try {
      await eventually("all apps answer", () => output.includes("Ctrl-C ends it"));
    } finally {
      starting.kill("SIGKILL");
      await ended;
    }
    for (const address of addressesIn(output)) await eventually(`${address} has ended`, () => hasEnded(address));
  },
  60_000,
);

test("an app that does not start is one line, and the others end", async () => {
  const gone = {
    name: "gone",
    title: "Gone",
    what: "Is not there.",
    topics: [],
    main: new URL("not-there.ts", import.meta.url),
  };
  const start = startOnTestDatabase((context) => startFront(context, [...sampleApps, gone]), {});
  const failure = await start.then(
    () => "it started",
    (error: unknown) => String(error),
  );
  expect(failure).toContain("gone did not start");
}, 60_000);

test("scenarios are asked of the app itself; what is not there is told so", async () => {
  await using front = await startOnTestDatabase(startFront, {});
  const [app] = sampleApps;
  const found = await fetch(`${front.url}/apps/${app?.name}/scenarios`);
  expect(found.status).toBe(200);
  const { scenarios } = (await found.json()) as { scenarios: { name: string }[] };
  expect(scenarios.length).toBeGreaterThan(0);
  const ask = (path: string, headers = {}) => fetch(front.url + path, { method: "POST", headers });
  expect((await ask(`/apps/${app?.name}/scenarios/nothing`)).status).toBe(404);
  expect((await ask("/apps/nothing/scenarios/one")).status).toBe(404);
  const foreign = await ask(`/apps/${app?.name}/scenarios/${scenarios[0]?.name}`, { origin: "https://evil.example" });
  expect(foreign.status).toBe(403);
}, 60_000);

test.skipIf(noBrowser !== undefined)(
  "the front page starts a scenario and shows what flows; it fits a telephone",
  async () => {
    await using front = await startOnTestDatabase(startFront, {});
    await using browser = await openBrowser({ width: 360, height: 740 });
    const { page } = browser;
    await page.goto(front.url);
    await page.getByRole("button", { name: "Start: A third group joins" }).click();
    const picture = page.getByRole("region", { name: "Topics and groups, live" });
    await picture.getByRole("listitem").filter({ hasText: "voucher" }).getByText("caught up").waitFor();
    const card = page.getByRole("article").filter({ hasText: "A third group joins" });
    await card.getByText("6 of 6 claims held").waitFor();
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
    expect(browser.complaints).toEqual([]);
  },
  60_000,
);

test("[U1][U2][U3][U4] --once runs every scenario of every app, and ends with 0 when all claims held", async () => {
  await using database = await testDatabase();
  await using front = startProcess(main, ["--once"], { DATABASE_URL: database.url });
  const code = await front.exited;
  const output = front.output();
  expect(`${front.errors()}${code === 0 ? "" : output}`).toBe("");
  for (const { name } of sampleApps) expect(output).toMatch(new RegExp(`^${name} .* passed `, "m"));
  expect(output.match(/^PASSED$/gm)).toHaveLength(9);
  expect(output).not.toContain("✗");
}, 300_000);
