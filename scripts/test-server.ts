// One server for a run of all tests. Arguments: its folder, and the bin folder of another Postgres if it is not to be
// the one that ships. Prints its URL in one line; ends, and stops the server, when standard input is closed.
import { startEmbedded } from "../libs/store/embedded.ts";

const [dataDirectory, binariesDirectory] = process.argv.slice(2);
if (dataDirectory === undefined) throw new Error("usage: bun scripts/test-server.ts FOLDER [BINARIES]");

const server = await startEmbedded({
  dataDirectory,
  onLog: (line) => console.error(line),
  settings: { max_connections: "300" },
  ...(binariesDirectory === undefined ? {} : { binariesDirectory }),
});
console.log(server.url);
for await (const _ of process.stdin);
await server.stop();
