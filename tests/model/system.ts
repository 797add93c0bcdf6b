import { isDeepStrictEqual } from "node:util";
import {
  insertDelayed,
  type OffsetRange,
  type OwnedPosition,
  recallDelayed,
  registerConsumer,
  retentionBounds,
} from "@sluice/broker";
import { SluiceError } from "@sluice/kernel";
import type { PostgresLog, TopicEntry, TrimReport } from "@sluice/log";
import type postgres from "postgres";
import { type Bench, effectsTable } from "./bench.ts";
import type { Destination, OpenTransaction } from "./broker-model.ts";
import type { Claim } from "./group-model.ts";
import { type Call, type Draft, type Guard, hours, type Message, type Told } from "./log-model.ts";
import { type Observation, observed } from "./observation.ts";

const hourMs = 3_600_000;

/** A user's transaction on a connection of its own. */
export interface RealTransaction {
  send(draft: Draft, delay: number | null): Promise<string>;
  end(how: "commit" | "rollback"): Promise<void>;
}

/** The real broker of one run: one topic, its groups, and the clock of the test, which moves what is written into the past. */
export class System {
  readonly #bench: Bench;
  readonly entry: TopicEntry;
  readonly log: PostgresLog;
  readonly producers: readonly number[];
  readonly #groups = new Map<string, number>();
  readonly transactions = new Map<OpenTransaction, RealTransaction>();
  /** Positions by group and partition. */
  readonly #positions = new Map<string, number>();
  /** Locks that members' sessions hold, by member. */
  readonly #held = new Map<string, Set<number>>();

  private constructor(bench: Bench, parts: Awaited<ReturnType<Bench["topic"]>>) {
    this.#bench = bench;
    this.entry = parts.entry;
    this.log = parts.log;
    this.producers = parts.producers;
  }

  static async open(bench: Bench): Promise<System> {
    return new System(bench, await bench.topic());
  }

  get bench(): Bench {
    return this.#bench;
  }

  /** Names of groups are this run's own: sluice.pauses shows groups, not topics. */
  groupName(name: string): string {
    return `${this.entry.name} ${name}`;
  }

  async observe(): Promise<Observation> {
    return await observed(this.#bench.looking, this.entry.name, effectsTable);
  }

  async append(
    call: Pick<Call, "producer" | "sequence" | "drafts" | "guarded">,
    after: number | null,
    repeat: boolean,
  ): Promise<readonly Told[]> {
    const { producer, sequence, drafts, guarded } = call;
    const common = { topic: this.entry, producer, sequence, acks: 1, ring: null, deadlineMs: 20_000 } as const;
    if (guarded) {
      const records = drafts.map((draft, unit) => ({
        ...draft,
        unit,
        value: JSON.stringify(draft.value),
        attributes: null,
      }));
      return await this.log.appendGuarded({ ...common, records, isRepeat: repeat });
    }
    const used = [...new Set(drafts.map(({ partition }) => partition))].sort((a, b) => a - b);
    const parts = used.map((partition) => drafts.filter((draft) => draft.partition === partition));
    const entries = parts.map((part, index) => ({
      partition: used[index] ?? 0,
      count: part.length,
      keys: part.every(({ key }) => key === null) ? null : JSON.stringify(part.map(({ key }) => key)),
      records: JSON.stringify(part.map(({ value }) => value)),
      attributes: null,
    }));
    const firsts = await this.log.append({ ...common, entries, repeat, after });
    const told = new Map<Draft, Told>();
    for (const [index, draft] of parts.flat().entries()) {
      const partition = draft.partition;
      const before = parts
        .flat()
        .slice(0, index)
        .filter((other) => other.partition === partition).length;
      const offset = (firsts[used.indexOf(partition)] ?? -1) + before;
      told.set(draft, { status: "appended", partition, offset, id: `${producer}-${sequence + index}` });
    }
    return drafts.map((draft) => told.get(draft) as Told);
  }

  async begin(): Promise<RealTransaction> {
    const connection = await this.#bench.sql.reserve();
    await connection`begin`;
    return {
      send: (draft, delay) => this.#send(connection, draft, delay),
      end: async (how) => {
        await connection.unsafe(how);
        connection.release();
      },
    };
  }

  async #send(
    sql: postgres.ISql,
    draft: Pick<Draft, "partition" | "key" | "value">,
    delay: number | null,
  ): Promise<string> {
    const { partition, key, value } = draft;
    const later = delay === null ? null : `${delay} hours`;
    const rows = await sql<{ id: string }[]>`
      select sluice.send(${this.entry.name}, ${JSON.stringify(value)}::text::json, key => ${key}::text,
        partition => ${partition}::integer, delay => ${later}::text::interval) as id`;
    return rows[0]?.id ?? "";
  }

  async sendLater({ partition, key, value }: Draft, delay: number): Promise<string> {
    const numbers = await insertDelayed(this.#bench.pool, "sending for later", {
      topic: this.entry.number,
      messages: JSON.stringify([{ partition, key, value, attributes: null }]),
      dueMs: null,
      delayMs: delay * hourMs,
      ring: false,
    });
    return `d-${numbers}`;
  }

  async recall(id: string): Promise<boolean> {
    return await recallDelayed(this.#bench.pool, id);
  }

  /** A round of the relay or of the mover of delayed messages, under the term in force or under the one before. */
  async round(duty: "relay" | "delays", isOld: boolean): Promise<"done" | "fenced"> {
    const term = this.#bench.terms.at(isOld ? -2 : -1);
    if (term === undefined) throw new Error("there is no term before");
    try {
      await term[duty].round(term.epoch);
      return "done";
    } catch (error) {
      if (error instanceof SluiceError && error.sqlState === "SL001") return "fenced";
      throw error;
    }
  }

  async guard({ deduplicates, maxDepth }: Guard): Promise<void> {
    const windowMs = deduplicates ? hours.deduplicate * hourMs : null;
    await this.#bench.sql`select sluice.guard_topic(${this.entry.name}, ${windowMs}, ${maxDepth})`;
  }

  async roll(): Promise<void> {
    await this.#bench.sql`select sluice.roll_segment(${this.entry.number})`;
  }

  async trim(): Promise<TrimReport> {
    return await this.log.trim(this.entry, await retentionBounds(this.#bench.pool, this.entry));
  }

  /** Everything in a partition from an offset on, a batch or two at a time. */
  async read(
    partition: number,
    from: number,
  ): Promise<{
    readonly messages: readonly (readonly [offset: number, message: Omit<Message, "appendedAt">])[];
    readonly next: number;
  }> {
    const messages: [number, Omit<Message, "appendedAt">][] = [];
    let next = from;
    for (;;) {
      const result = await this.log.read({ topic: this.entry, partition, from: next, maxBatches: 2 });
      for (const { baseOffset, keys, values, attributes, producer, sequence } of result.batches)
        for (const [index, value] of values.entries()) {
          const id = attributes?.[index]?.id ?? `${producer}-${sequence + index}`;
          if (baseOffset + index >= next)
            messages.push([baseOffset + index, { id, key: keys?.[index] ?? null, value: String(value) }]);
        }
      const isEnd = result.batches.length === 0;
      next = result.next;
      if (isEnd) return { messages, next };
    }
  }

  async join(name: string, start: Destination): Promise<void> {
    const place = typeof start === "string" ? start : "offset" in start ? String(start.offset) : "earliest";
    this.#groups.set(name, await this.#bench.groups.join(this.groupName(name), this.entry.number, place));
    await this.#findPositions();
  }

  async protect(name: string, isProtected: boolean): Promise<void> {
    const registration = { group: this.groupName(name), topic: this.entry, mode: "assigned", isProtected } as const;
    await registerConsumer(this.#bench.pool, registration);
  }

  async #findPositions(): Promise<void> {
    const rows = await this.#bench.sql<{ group: string; number: number; partition: number; position: number }[]>`
      select g.name as group, g."group" as number, p.partition, p.position
      from sluice.position p join sluice.consumer_group g using ("group") where p.topic = ${this.entry.number}`;
    for (const { group, number, partition, position } of rows) {
      this.#groups.set(group.slice(this.groupName("").length), number);
      this.#positions.set(`${group.slice(this.groupName("").length)}/${partition}`, position);
    }
  }

  #position(group: string, partition: number): number {
    const position = this.#positions.get(`${group}/${partition}`);
    if (position === undefined) throw new Error(`group ${group} has no position in partition ${partition}`);
    return position;
  }

  owner({ group, position, epoch }: Claim): OwnedPosition {
    return { position: this.#position(group.name, position.partition), epoch };
  }

  /** As a member does that finds a position free: its session locks it, and then it takes it. `undefined`: it is another's. */
  async take(
    group: string,
    partition: number,
    name: string,
  ): Promise<{ readonly epoch: number; readonly next: number; readonly done: ReadonlySet<number> } | undefined> {
    const position = this.#position(group, partition);
    const { number, session } = this.#bench.member(name);
    const held = this.#held.get(name) ?? new Set();
    this.#held.set(name, held);
    if (!held.has(position)) {
      if (!(await session.tryLock("owner", position))) return undefined;
      held.add(position);
    }
    const { epoch, nextOffset, doneAbove } = await this.#bench.groups.take(position, number);
    return { epoch, next: nextOffset, done: new Set(doneAbove.flatMap(offsetsOf)) };
  }

  async release(claim: Claim): Promise<void> {
    const owner = this.owner(claim);
    await this.#bench.groups.release([owner], "leave");
    await this.#unlock(claim.member, owner.position);
  }

  /** The member's session ends, and it does not know yet: it may go on to write. */
  async sever(name: string): Promise<void> {
    for (const position of [...(this.#held.get(name) ?? [])]) await this.#unlock(name, position);
  }

  async #unlock(name: string, position: number): Promise<void> {
    if (this.#held.get(name)?.delete(position) === true)
      await this.#bench.member(name).session.unlock("owner", position);
  }

  async commit(claim: Claim): Promise<"committed" | "fenced"> {
    const { position, epoch } = this.owner(claim);
    const { next, done } = claim.progress;
    const doneAbove = [...done].sort((a, b) => a - b).map((offset): OffsetRange => [offset, offset + 1]);
    const accepted = await this.#bench.groups.commit([{ position, epoch, nextOffset: next, doneAbove }]);
    return accepted.has(position) ? "committed" : "fenced";
  }

  /** A handler's transaction: its effect, and the mark as the last statement. It is undone when the message cannot be marked. */
  async handleWithin(
    claim: Claim,
    offset: number,
    end: "commit" | "rollback",
  ): Promise<"done" | "already" | "fenced" | "rolled back"> {
    const { position, epoch } = this.owner(claim);
    const place = `${claim.group.name}/${claim.position.partition}/${offset}`;
    const connection = await this.#bench.sql.reserve();
    try {
      await connection`begin`;
      await connection`insert into public.model_effect (topic, place) values (${this.entry.name}, ${place})`;
      if (end === "rollback") {
        await connection`rollback`;
        return "rolled back";
      }
      const rows = await connection<{ outcome: "done" | "already" | "fenced" }[]>`
        select sluice.mark_done(${position}, ${epoch}, ${offset}) as outcome`;
      const outcome = rows[0]?.outcome ?? "fenced";
      await connection.unsafe(outcome === "done" ? "commit" : "rollback");
      return outcome;
    } finally {
      connection.release();
    }
  }

  group(name: string): number {
    const number = this.#groups.get(name);
    if (number === undefined) throw new Error(`there is no group ${name}`);
    return number;
  }

  async letterNumber(group: string, partition: number, offset: number): Promise<number | undefined> {
    const { letters } = await this.#bench.letters.list({
      group: this.groupName(group),
      topic: this.entry.name,
      limit: 1_000,
    });
    return letters.find((letter) => letter.partition === partition && letter.offset === offset)?.number;
  }

  async redrivenNumber(claim: Claim, offset: number): Promise<number | undefined> {
    const waiting = await this.#bench.redriven.waiting(this.owner(claim).position, 1_000, []);
    return waiting.find((message) => message.offset === offset)?.number;
  }

  /** Whether the survey tells the owners of a group's partitions that they are paused, and of messages that were redriven. */
  async survey(group: string): Promise<readonly (readonly [partition: number, paused: boolean, redriven: boolean])[]> {
    const { positions } = await this.#bench.groups.survey([this.group(group)]);
    return positions.map(({ partition, paused, redriven }) => [partition, paused, redriven] as const);
  }

  async clone(from: string, to: string): ReturnType<Bench["administration"]["clone"]> {
    const moves = await this.#bench.administration.clone(this.groupName(from), this.groupName(to), { force: true });
    await this.#findPositions();
    return moves;
  }

  /** The clock of the test: everything that was written down is an hour older. */
  async passHours(count: number): Promise<void> {
    const { number } = this.entry;
    const by = `interval '${count} hours'`;
    const of = `where topic = ${number}`;
    await this.#bench.sql.unsafe(`
      update sluice_log.topic_${number} set appended_at = appended_at - ${by};
      update sluice.segment set created_at = created_at - ${by} ${of};
      update sluice.delayed set due = due - ${by} ${of};
      update sluice.deduplication set expires_at = expires_at - ${by} ${of};
      update sluice.retry set due = due - ${by} where position in (select position from sluice.position ${of})`);
    // They remember where to look from, by the clock of the database.
    for (const { delays } of this.#bench.terms.slice(-2)) delays.reset();
  }

  /** Ends what a run that failed has left open. */
  async close(): Promise<void> {
    for (const transaction of this.transactions.values()) await transaction.end("rollback");
    for (const name of this.#held.keys()) await this.sever(name);
  }
}

function offsetsOf([from, to]: OffsetRange): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** Fails, and says what was there and what should be. */
export function agree(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Error(`${what}: the system says ${text(actual)}, the model ${text(expected)}`);
}

function text(value: unknown): string {
  return JSON.stringify(value, (_, part) => (part instanceof Set ? [...part] : part)) ?? "nothing";
}
