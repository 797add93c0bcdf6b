import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Pool } from "@sluice/store";
import { temporaryFolder } from "@sluice/testkit";
import { startEmbedded } from "sluice/embedded";

test("[R10] of several hosts the one that writes is gone by: a standby is passed over, whatever the URL asks for", async () => {
  using folder = temporaryFolder("hosts");
  const first = await startEmbedded({ dataDirectory: join(folder.path, "primary") });
  const [one, two] = [first.dataDirectory, `${first.dataDirectory}-standby`];
  await first.stop();
  // With its owner: Postgres starts over nobody else's files.
  const copied = spawnSync("cp", ["-a", one, two], { encoding: "utf8" });
  expect(copied.stderr).toBe("");
  await writeFile(join(two, "cluster", "data", "standby.signal"), "");
  await using primary = await startEmbedded({ dataDirectory: one });
  await using standby = await startEmbedded({ dataDirectory: two });
  const [writes, reads] = [new URL(primary.url), new URL(standby.url)];
  expect(writes.host).not.toBe(reads.host);
  for (const asked of ["", "?target_session_attrs=read-write"]) {
    const url = `${primary.url.replace(writes.host, `${reads.host},${writes.host}`)}${asked}`;
    const pool = new Pool(url, { connections: 2, applicationName: "test" });
    try {
      const answers = await Promise.all(
        [1, 2].map(() => pool.query<{ standby: boolean }>("asking", "select pg_is_in_recovery() as standby")),
      );
      expect(answers).toEqual([[{ standby: false }], [{ standby: false }]]);
    } finally {
      await pool.close();
    }
  }
  const alone = new Pool(standby.url, { connections: 1, applicationName: "test" });
  expect(await alone.query("asking", "select pg_is_in_recovery() as standby")).toEqual([{ standby: true }]);
  await alone.close();
}, 60_000);
