// A process of its own for the tests of the embedded server: starts or joins it, says so in one line, and stops it when
// standard input is closed. Ignores SIGINT, as an application that is still draining does.
import { startEmbedded } from "./embedded.ts";

const [dataDirectory] = process.argv.slice(2);
if (dataDirectory === undefined) throw new Error("usage: embedded-fixture.ts FOLDER");
process.on("SIGINT", () => undefined);

const server = await startEmbedded({ dataDirectory });
console.log(JSON.stringify({ url: server.url, started: server.started }));
for await (const _ of process.stdin);
await server.stop();
