import type { HandlerDefect } from "./workload.ts";

/** Something that is broken on purpose: a handler, or functions of the database. */
export interface PublicDefect {
  /** What the version has that is broken so. */
  readonly name: string;
  readonly handler?: HandlerDefect;
  readonly functions?: Readonly<Record<string, readonly (readonly [part: string | RegExp, replacement: string])[]>>;
  /** The commands that it has to do with, so that it is found within seconds. */
  readonly commands: Readonly<Record<string, number>>;
  /** It takes more runs than every run of the tests has time for: only with MODEL_RUNS. */
  readonly isRare?: boolean;
  /** What is said of it. */
  readonly found: RegExp;
}

/** Versions that the laws must tell from a right one. */
export const publicDefects: readonly PublicDefect[] = [
  {
    name: "positions that are committed before the handler",
    handler: "commits-first",
    commands: { sendBatch: 3, start: 1, crash: 4 },
    found: /messages that group plain has handled/,
  },
  {
    name: "a handler that writes its row outside of c.tx()",
    handler: "writes-outside",
    commands: { sendBatch: 3, start: 1, crash: 4 },
    found: /effects of group rows/,
  },
  {
    name: "marks of transactions that leave no trace",
    isRare: true,
    functions: {
      "sluice.mark_done": [
        [/insert into sluice\.done[^;]*;/, ""],
        ["v_done := v_done or found;", "v_done := true;"],
      ],
    },
    commands: { sendBatch: 3, start: 1, crash: 4, cut: 3 },
    found: /effects of group (rows|late)/,
  },
  {
    name: "attempts that are not counted",
    functions: { "sluice.count_attempts": [["set attempt = a.attempt, due = null", "set due = null"]] },
    commands: { send: 3, sendBatch: 1, start: 1, crash: 4 },
    found: /more than once for attempt/,
  },
  {
    name: "recalls that say yes to everything",
    functions: { "sluice.recall": [["return found;", "return true;"]] },
    commands: { sendLater: 3, recall: 3, settle: 1 },
    found: /the system says true, the model false|messages in the log/,
  },
  {
    name: "messages that are given up and not kept",
    isRare: true,
    functions: { "sluice.bury": [[/insert into sluice\.dead_letter[\s\S]*?do nothing;/, ""]] },
    commands: { send: 3, sendBatch: 1 },
    found: /dead letters of group/,
  },
  {
    name: "redriven messages that are lost when they fail again",
    isRare: true,
    functions: {
      "sluice.bury_redriven": [[/insert into sluice\.dead_letter[\s\S]*?edited_by = excluded\.edited_by;/, ""]],
    },
    commands: { send: 3, sendBatch: 1, settle: 2, redrive: 3 },
    found: /dead letters of group/,
  },
];
