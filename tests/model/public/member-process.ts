// Run as a process of its own: a member, as an app of this process is one. It closes when its input ends, and says what it does in lines.
import { writeSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { AppBody } from "./app-body.ts";
import type { MemberOptions } from "./member-body.ts";
import type { Word } from "./process-body.ts";

const options: MemberOptions = JSON.parse(process.env["SLUICE_MODEL_MEMBER"] ?? "");
// At once: what was said survives the process.
const say = (word: Word) => writeSync(1, `${JSON.stringify(word)}\n`);
const body = new AppBody(options, options.url, {
  onReport: say,
  onEndReached: () => {
    say("end reached");
    process.kill(process.pid, "SIGKILL");
  },
});
const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  const { phase, skip } = JSON.parse(line);
  body.endAt(phase, skip);
});
input.once("close", async () => {
  await body.close();
  say("closed");
  process.exit(0);
});
await body.started;
say("started");
