import type { Weights } from "./focus.ts";

/** Something that is broken on purpose, by other text in a function of the database. */
export interface Defect {
  /** What the version has that is broken so. */
  readonly name: string;
  readonly function: string;
  readonly changes: readonly (readonly [part: string | RegExp, replacement: string])[];
  /** The commands that it has to do with, so that it is found within seconds. */
  readonly commands: Weights;
  /** Commands that it takes to show it, at most. */
  readonly most: number;
}

/** Versions of the broker that the model must tell from a right one. */
export const defects: readonly Defect[] = [
  {
    name: "positions that anybody writes who once owned them",
    function: "sluice.commit_positions",
    changes: [["p.epoch = p_epochs[i] and ", ""]],
    commands: { send: 2, take: 2, handle: 2, commit: 3 },
    most: 3,
  },
  {
    name: "marks of transactions that believe any epoch",
    function: "sluice.mark_done",
    changes: [[" and epoch = p_epoch", ""]],
    commands: { send: 2, take: 2, handle: 4 },
    most: 4,
  },
  {
    name: "marks that count twice",
    function: "sluice.mark_done",
    changes: [["v_done := v_done or found", "v_done := true"]],
    commands: { send: 2, handle: 5 },
    most: 3,
  },
  {
    name: "a gap in the offsets wherever a segment is closed",
    function: "sluice.roll_segment",
    changes: [["select b.base_offset + b.count from", "select b.base_offset + b.count + 1 from"]],
    commands: { send: 3, roll: 2 },
    most: 3,
  },
  {
    name: "retries whose attempts are not counted",
    function: "sluice.begin_all_retries",
    changes: [["least(a.attempt, r.attempt + 1)", "r.attempt"]],
    commands: { send: 2, fail: 3, beginRetry: 3 },
    most: 3,
  },
  {
    name: "redriven messages that are lost when they fail again",
    function: "sluice.bury_redriven",
    changes: [[/insert into sluice\.dead_letter[\s\S]*?edited_by = excluded\.edited_by;/, ""]],
    commands: { send: 2, giveUp: 3, redrive: 3, beginRedriven: 1, settleRedriven: 3 },
    most: 4,
  },
  {
    name: "no memory of what was sent before",
    function: "sluice.append_guarded",
    changes: [["k.expires_at > clock_timestamp()", "false"]],
    commands: { guard: 2, send: 4 },
    most: 3,
  },
  {
    name: "takeovers that forget what was done above the position",
    function: "sluice.take_over",
    changes: [[/done_above = p\.done_above \+ coalesce\([\s\S]*?'\{\}'\)/, "done_above = '{}'"]],
    commands: { send: 3, handle: 4, take: 3 },
    most: 3,
  },
  {
    name: "a relay that moves what others have taken over",
    function: "sluice.assert_duty",
    changes: [[" and epoch = p_epoch", ""]],
    commands: { sendInTransaction: 1, endTransaction: 1, relay: 1, roundOfAnOldOwner: 1 },
    most: 1,
  },
  {
    name: "retention that asks no group",
    function: "sluice.retention_bounds",
    changes: [["filter (where held.protected)", "filter (where false)"]],
    commands: { send: 3, protect: 3, roll: 3, passHours: 3, trim: 4 },
    most: 6,
  },
];
