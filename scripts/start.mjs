// npm start: installs what is missing, then runs the sample apps behind their front page under Bun.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { ensureInstalled, findBun, onStopSignal, root, run } from "./toolchain.mjs";

await run(() => {
  ensureInstalled();
  const bun = findBun();
  return new Promise((resolve, reject) => {
    const child = spawn(bun, [join(root, "apps", "front", "main.ts"), ...process.argv.slice(2)], {
      // The other end of its input is here: however this process ends, the system closes it, and the apps end with that.
      stdio: ["pipe", "inherit", "inherit"],
      env: { ...process.env, STOP_WITH_STDIN: "1" },
      // A group of its own: Ctrl-C then reaches the app once, from here, and not also from the terminal and from npm.
      detached: process.platform !== "win32",
    });
    onStopSignal((signal) => child.kill(signal === "SIGHUP" ? "SIGTERM" : signal));
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
});
