import { expect, test } from "bun:test";
import { join } from "node:path";
import { testDatabase } from "@sluice/testkit";
import { deadlineMs } from "./testing.ts";

const main = join(import.meta.dirname, "main.ts");

function start(parameters: readonly string[], variables: Record<string, string>) {
  const { DATABASE_URL: _, PORT: __, ...inherited } = process.env;
  const child = Bun.spawn([process.execPath, main, ...parameters], {
    env: { ...inherited, ...variables },
    stdout: "pipe",
    stderr: "pipe",
    timeout: 60_000,
  });
  const errors = new Response(child.stderr).text();
  return { child, errors };
}

test("an unknown argument shows the usage and ends with 64", async () => {
  const { child, errors } = start(["--twice"], {});
  expect(await child.exited).toBe(64);
  expect(await errors).toContain("unknown argument: --twice");
  expect(await errors).toContain("usage: npm start");
});

test("a database that is not there is one line, not a stack", async () => {
  const { child, errors } = start([], { DATABASE_URL: "postgres://nobody:secret@127.0.0.1:1/none" });
  expect(await child.exited).toBe(69);
  expect((await errors).trim().split("\n")).toHaveLength(1);
  expect(await errors).not.toContain("secret");
});

test("a port that is taken is one line", async () => {
  await using database = await testDatabase();
  const occupant = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  try {
    const { child, errors } = start([], { DATABASE_URL: database.url, PORT: String(occupant.port) });
    expect(await child.exited).toBe(69);
    expect(await errors).toBe(
      `signup: port ${occupant.port} is taken by another program; set PORT to another one, or leave it unset\n`,
    );
  } finally {
    await occupant.stop(true);
  }
}, 60_000);

test(
  "SIGTERM finishes what is under way and ends with 0",
  async () => {
    await using database = await testDatabase();
    const { child, errors } = start([], { DATABASE_URL: database.url });
    const printed = Promise.withResolvers<string>();
    const reading = (async () => {
      let text = "";
      for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        if (text.includes("Ctrl-C ends it")) printed.resolve(text);
      }
    })();
    const url = /sign up\s+(http:\S+)/.exec(await printed.promise)?.[1];
    expect((await fetch(`${url}health`)).status).toBe(200);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
    expect(await errors).toBe("");
    await reading;
    expect(await printed.promise).toContain('psql "$DATABASE_URL"');
  },
  deadlineMs * 2,
);
