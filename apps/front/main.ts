import { noEnvironment, runMain } from "@sluice/app-kit";
import { startFront } from "./front.ts";
import { runAllOnce } from "./once.ts";

await runMain({
  name: "front",
  command: "npm start --",
  help: "Starts all sample apps behind one front page; --once runs all their scenarios and prints the reports.",
  environment: noEnvironment,
  start: startFront,
  once: runAllOnce,
});
