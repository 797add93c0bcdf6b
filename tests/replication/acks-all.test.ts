import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { type TemporaryFolder, temporaryFolder } from "@sluice/testkit";
import postgres from "postgres";
import { app, connect, consumer, type Sluice, silentLogger, topic } from "sluice";
import { type EmbeddedServer, startEmbedded } from "sluice/embedded";
import { z } from "zod";

const letters = topic("letters", { schema: z.string(), partitions: 1 });

let folder: TemporaryFolder;
let server: EmbeddedServer;
let sql: postgres.Sql;
let sluice: Sluice;

beforeAll(async () => {
  folder = temporaryFolder("acks");
  server = await startEmbedded({ dataDirectory: join(folder.path, "postgres") });
  sql = postgres(server.url, { max: 2, onnotice: () => undefined });
  sluice = await connect({ url: server.url, topics: [letters], logger: silentLogger });
}, 60_000);

afterAll(async () => {
  await setStandbys("");
  await sluice.close();
  await sql.end();
  await server.stop();
  folder[Symbol.dispose]();
}, 60_000);

/** Makes commits that ask for standbys wait for these; waits until the server does so. */
async function setStandbys(names: string): Promise<void> {
  await sql.unsafe(`alter system set synchronous_standby_names = '${names}'`);
  await sql`select pg_reload_conf()`;
  while ((await sql`select current_setting('synchronous_standby_names') as names`)[0]?.["names"] !== names);
}

async function endOffset(): Promise<number> {
  const [row] = await sql<
    { end: string }[]
  >`select high_watermark as end from sluice.partitions where topic = 'letters'`;
  return Number(row?.end);
}

test("[K3] acks 1 answers without the standby; acks all waits for it, and until then nobody sees the record", async () => {
  await setStandbys("a_standby_that_is_away");
  const before = await endOffset();
  expect(await sluice.send(letters, "local", { acks: 1 })).toMatchObject({ status: "appended", offset: before });
  expect(await endOffset()).toBe(before + 1);

  const seen: string[] = [];
  const gotAll = Promise.withResolvers<void>();
  const reading = app({
    name: "reader",
    poll: "20ms",
    consumers: [
      consumer(letters, {
        group: "reader",
        handler: (c) => {
          seen.push(c.value);
          if (c.value === "replicated") gotAll.resolve();
        },
      }),
    ],
  });
  let answered = false;
  const sending = sluice.send(letters, "replicated").finally(() => {
    answered = true;
  });
  // The append waits inside its commit: durable here, not there.
  while ((await sql`select from pg_stat_activity where wait_event = 'SyncRep'`).count === 0);
  expect(answered).toBe(false);
  expect(await endOffset()).toBe(before + 1);

  // Its own commits ask for the standby as well, so the reader may only start once that is over.
  await setStandbys("");
  expect(await sending).toMatchObject({ status: "appended", offset: before + 1 });
  const running = await reading.start({ url: server.url, logger: silentLogger });
  await gotAll.promise;
  expect(seen).toEqual(["local", "replicated"]);
  await running.close();
}, 60_000);
