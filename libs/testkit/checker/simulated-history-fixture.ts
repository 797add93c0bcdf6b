import { type Random, seeded } from "../random.ts";
import { type Operation, runsOf } from "./operation.ts";

type Entry = readonly [sender: number, number: number];

const partitions = 2;

/**
 * A history as a broker that keeps every promise would make it: senders whose sends are acknowledged, fail, or are left unknown;
 * groups whose owners crash, are frozen, and hand over again what they had not committed.
 */
export function goodHistory(seed: number): Operation[] {
  const random = seeded(seed);
  const log: Entry[][] = Array.from({ length: partitions }, () => []);
  const history: Operation[] = [];
  let time = 0;
  const at = (process: string) => {
    time += 1;
    return { process, time };
  };
  const inFlight = 10;
  for (const [group, mode, isTransactional] of [
    ["in-order", "ordered", false],
    ["by-key", "keyed", false],
    ["together", "shared", false],
    ["effects", "ordered", true],
  ] as const) {
    history.push({ ...at("controller"), op: "group", group, mode, isTransactional, partitions: [0, 1], inFlight });
  }
  const next = [0, 0, 0];
  const send = () => {
    const sender = random(next.length);
    const number = next[sender] ?? 0;
    const count = 1 + random(4);
    const partition = random(partitions);
    next[sender] = number + count;
    const entries = log[partition] ?? [];
    const messages = (from: number) =>
      runsOf(
        Array.from({ length: count }, (_, index) => [
          partition,
          from === -1 ? -1 : from + index,
          sender,
          number + index,
        ]),
      );
    const process = `producer-${sender}`;
    history.push({ ...at(process), op: "send", type: "invoke", runs: messages(-1) });
    const fate = random(10);
    const isLogged = fate < 8 || fate === 9;
    const offset = entries.length;
    if (isLogged) for (let index = 0; index < count; index++) entries.push([sender, number + index]);
    const type = fate < 8 ? "ok" : fate === 8 ? "fail" : "info";
    history.push({ ...at(process), op: "send", type, runs: messages(type === "ok" ? offset : -1) });
  };
  const groups = [
    new SimulatedGroup("in-order", inFlight, log, history, at, random),
    new SimulatedGroup("by-key", inFlight, log, history, at, random),
  ];
  for (let step = 0; step < 120; step++) {
    if (random(3) === 0) send();
    else groups[random(groups.length)]?.step();
  }
  for (const group of groups) group.finish();
  for (const [partition, entries] of log.entries()) {
    const runs = runsOf(entries.map(([sender, number], offset) => [partition, offset, sender, number]));
    if (runs.length > 0) {
      history.push({ ...at("sharer"), op: "poll", group: "together", runs: [...runs].reverse() });
      history.push({ ...at("controller"), op: "read", final: true, runs });
      history.push({
        ...at("controller"),
        op: "effect",
        group: "effects",
        partition,
        from: 0,
        count: entries.length,
        times: 1,
      });
    }
    history.push({ ...at("controller"), op: "ends", partition, start: 0, end: entries.length });
  }
  return history;
}

/** A group with one owner at a time for each partition. */
class SimulatedGroup {
  readonly #group: string;
  readonly #inFlight: number;
  readonly #log: readonly Entry[][];
  readonly #history: Operation[];
  readonly #at: (process: string) => { process: string; time: number };
  readonly #random: Random;
  readonly #states = Array.from({ length: partitions }, () => ({ epoch: 0, owner: "", position: 0, handled: 0 }));
  #members = 0;

  constructor(
    group: string,
    inFlight: number,
    log: readonly Entry[][],
    history: Operation[],
    at: (process: string) => { process: string; time: number },
    random: Random,
  ) {
    this.#group = group;
    this.#inFlight = inFlight;
    this.#log = log;
    this.#history = history;
    this.#at = at;
    this.#random = random;
  }

  step(): void {
    const partition = this.#random(partitions);
    const state = this.#states[partition];
    if (state === undefined) return;
    if (state.owner === "" || this.#random(12) === 0) this.#take(partition);
    else if (this.#random(3) === 0) this.#commit(partition);
    else this.#poll(partition, 1 + this.#random(6));
  }

  finish(): void {
    for (const [partition, state] of this.#states.entries()) {
      if (state.owner === "") this.#take(partition);
      while (state.position < (this.#log[partition]?.length ?? 0)) {
        this.#poll(partition, 5);
        this.#commit(partition);
      }
    }
  }

  #take(partition: number): void {
    const state = this.#states[partition];
    if (state === undefined) return;
    this.#members += 1;
    Object.assign(state, { epoch: state.epoch + 1, owner: `consumer-${this.#members}`, handled: state.position });
    this.#position("take", partition, state.position);
  }

  #commit(partition: number): void {
    const state = this.#states[partition];
    if (state === undefined || state.handled === state.position) return;
    const from = state.position;
    state.position = state.handled;
    this.#position("commit", partition, from);
  }

  #position(kind: "take" | "commit", partition: number, from: number): void {
    const state = this.#states[partition];
    if (state === undefined) return;
    const { epoch, owner, position } = state;
    const common = { group: this.#group, partition, epoch, owner, from, to: position, done: [] };
    this.#history.push({ ...this.#at(owner), op: "position", kind, ...common });
  }

  #poll(partition: number, most: number): void {
    const state = this.#states[partition];
    if (state === undefined) return;
    const from = state.handled;
    const to = Math.min(from + most, this.#log[partition]?.length ?? 0, state.position + this.#inFlight);
    if (to <= from) return;
    state.handled = to;
    const handled = (this.#log[partition] ?? []).slice(from, to);
    const runs = runsOf(handled.map(([sender, number], index) => [partition, from + index, sender, number]));
    this.#history.push({ ...this.#at(state.owner), op: "poll", group: this.#group, runs });
  }
}
