import { expect, test } from "bun:test";
import { createServer } from "node:net";
import { testDatabase } from "@sluice/testkit";
import { hostsOf } from "./hosts.ts";
import { Pool } from "./pool.ts";
import { Session } from "./session.ts";

/** A port that nobody listens on. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function acrossDead(url: string, order: readonly ("dead" | "alive")[]): Promise<string> {
  const dead = `127.0.0.1:${await deadPort()}`;
  const { host } = new URL(url);
  return url.replace(host, order.map((one) => (one === "dead" ? dead : host)).join(","));
}

test("[R10] a URL of several hosts is taken apart as libpq does it", () => {
  expect(hostsOf("postgres://ann:a%40b@one:5433,two,[::1]:7/shop?sslmode=require")).toEqual({
    hosts: [
      { host: "one", port: 5433, url: "postgres://ann:a%40b@one:5433/shop?sslmode=require" },
      { host: "two", port: 5432, url: "postgres://ann:a%40b@two/shop?sslmode=require" },
      { host: "::1", port: 7, url: "postgres://ann:a%40b@[::1]:7/shop?sslmode=require" },
    ],
    first: "postgres://ann:a%40b@one:5433/shop?sslmode=require",
  });
  expect(hostsOf("postgres://one/shop")).toEqual({ hosts: [], first: "postgres://one/shop" });
});

test("[R10] a pool and a session find the host that lives, wherever it stands", async () => {
  await using database = await testDatabase();
  for (const order of [["alive", "dead"] as const, ["dead", "alive"] as const, ["dead", "dead", "alive"] as const]) {
    const url = await acrossDead(database.url, order);
    const pool = new Pool(url, { connections: 2, applicationName: "test" });
    try {
      expect(await pool.query<{ one: number }>("asking", "select 1 as one")).toEqual([{ one: 1 }]);
    } finally {
      await pool.close();
    }
    const session = await Session.open(url, {
      applicationName: "test",
      leaseMs: 10_000,
      onNotify: () => undefined,
      onLost: () => undefined,
    });
    expect(session.backendPid).toBeGreaterThan(0);
    await session.close();
  }
});

test("[R10] where no host lives, a call says so, again and again", async () => {
  await using database = await testDatabase();
  const pool = new Pool(await acrossDead(database.url, ["dead", "dead"]), { connections: 1, applicationName: "test" });
  try {
    for (let tries = 0; tries < 3; tries += 1) {
      const asked = pool.query("asking", "select 1");
      await expect(asked).rejects.toMatchObject({ code: "DATABASE_UNREACHABLE" });
    }
  } finally {
    await pool.close();
  }
});
