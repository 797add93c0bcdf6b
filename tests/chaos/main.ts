// bun run chaos: producers, consumers and a Postgres of their own, faults by a seed, and a verdict on the history.
import process from "node:process";
import { parseArgs } from "node:util";
import { checkHistory, readHistory } from "@sluice/testkit/checker";
import { defects } from "./defects.ts";
import { faults } from "./faults.ts";
import { linesOf } from "./report.ts";
import { runChaos } from "./run.ts";

const usage = `usage: bun run chaos [--minutes 5] [--seed S] [--messages N] [--only FAULT,…] [--defect NAME] [--json]
       bun run chaos --check FILE
  Ends with 0 when everything holds; else with 1, and keeps the history.
  --messages  bulk messages to aim at; default 260,000 a minute
  --defect    breaks something on purpose: ${defects.map(({ name }) => name).join(", ")}
  faults:     ${Object.keys(faults).join(", ")}`;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    messages: { type: "string" },
    only: { type: "string" },
    defect: { type: "string" },
    check: { type: "string" },
    json: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
    help: { type: "boolean" },
  },
});

function refuse(why: string): never {
  console.error(`${why}\n${usage}`);
  process.exit(64);
}

if (values.help) {
  console.log(usage);
  process.exit(0);
}
if (values.check !== undefined) {
  const verdict = checkHistory(readHistory(values.check));
  console.log(JSON.stringify(verdict, undefined, 2));
  process.exit(verdict.findings.length === 0 ? 0 : 1);
}
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
const messages = values.messages === undefined ? minutes * 260_000 : Number(values.messages);
const kinds = values.only?.split(",");
const defect = defects.find(({ name }) => name === values.defect);
if (!(minutes > 0)) refuse("--minutes must be a number above zero");
if (!(Number.isInteger(seed) && seed >= 0)) refuse("--seed must be a whole number");
if (!(messages > 0)) refuse("--messages must be a number above zero");
if (values.defect !== undefined && defect === undefined) refuse(`there is no defect ${values.defect}`);
for (const kind of kinds ?? []) if (!(kind in faults)) refuse(`there is no fault ${kind}`);

if (!values.json) console.log(`seed ${seed}`);
const report = await runChaos({
  seconds: minutes * 60,
  seed,
  messages,
  ...(kinds === undefined ? {} : { kinds }),
  ...(defect === undefined ? {} : { defect, kinds: kinds ?? defect.kinds }),
  ...(values.verbose ? { onLog: (line: string) => console.error(line) } : {}),
});
if (values.json) console.log(JSON.stringify(report, undefined, 2));
else for (const line of linesOf(report)) console.log(line);
process.exit(report.passed ? 0 : 1);
