/** The test's clock counts whole hours; limits of time lie between two of them, so that no run depends on how quick it is. */
export const hours = { retention: 2.5, segment: 1.5, deduplicate: 2.5 } as const;

/** A message as its sender wrote it. */
export interface Draft {
  readonly partition: number;
  readonly key: string | null;
  readonly value: string;
  /** What a topic that deduplicates knows it by; `null`: it is new in any case. */
  readonly messageId: string | null;
}

/** A message as it stands in the log, for ever at the same place. */
export interface Message {
  /** What its sender was told. */
  readonly id: string;
  readonly key: string | null;
  readonly value: string;
  readonly appendedAt: number;
}

/** A call of a producer: its messages are in the log together or not at all. */
export interface Call {
  readonly producer: number;
  /** The number of its first message; the others follow. */
  readonly sequence: number;
  readonly drafts: readonly Draft[];
  readonly at: number;
  readonly guarded: boolean;
  /** What was answered the last time. */
  answer: readonly Told[];
  /** That answer holds for every repeat. */
  isSettled: boolean;
}

/** What a producer is told of one message. */
export type Told =
  | {
      readonly status: "appended" | "duplicate";
      readonly partition: number;
      readonly offset: number;
      readonly id: string;
    }
  /** A bounded topic had room for so many. */
  | { readonly status: "full"; readonly room: number };

/** What a topic refuses. */
export interface Guard {
  readonly deduplicates: boolean;
  readonly maxDepth: number | null;
}

/** A stretch of the log that retention drops whole. */
interface Segment {
  readonly number: number;
  readonly createdAt: number;
  /** Where it begins in each partition. */
  readonly starts: readonly number[];
}

/** The log of one topic: per partition a list that only grows at its end and is only dropped from its start. */
export class LogModel {
  /** By partition; a message's offset is its index. What lies below {@link start} is not readable any more. */
  readonly partitions: readonly Message[][];
  #segments: Segment[];
  guard: Guard | undefined;
  /** Where messages with an id are, and until when that is known. */
  readonly #known = new Map<string, { readonly told: Told; readonly until: number }>();
  /** Every call of every producer, oldest first. */
  readonly calls: Call[] = [];

  constructor(partitions: number) {
    this.partitions = Array.from({ length: partitions }, () => []);
    this.#segments = [{ number: 0, createdAt: 0, starts: this.partitions.map(() => 0) }];
  }

  start(partition: number): number {
    return this.#segments[0]?.starts[partition] ?? 0;
  }

  end(partition: number): number {
    return this.partitions[partition]?.length ?? 0;
  }

  at(partition: number, offset: number): Message | undefined {
    return offset < this.start(partition) ? undefined : this.partitions[partition]?.[offset];
  }

  /** The segments that are left. */
  get segments(): number {
    return this.#segments.length;
  }

  /** Appends one message; its offset is the end. */
  push(draft: Draft, id: string, now: number): Told {
    const { partition, key, value } = draft;
    const offset = this.partitions[partition]?.push({ id, key, value, appendedAt: now }) ?? 0;
    return { status: "appended", partition, offset: offset - 1, id };
  }

  /** The sequence that a producer's next call has. */
  nextSequence(producer: number): number {
    const last = this.calls.filter((call) => call.producer === producer).at(-1);
    return last === undefined ? 0 : last.sequence + last.drafts.length;
  }

  /** A producer's call: partition after partition, the messages of each in their order, numbered from the call's sequence on. */
  append(call: Omit<Call, "answer" | "isSettled">, depth: number, now: number): Call {
    const answer = call.guarded ? this.#appendGuarded(call, depth, now) : this.#appendAll(call, call.drafts, now);
    const made: Call = { ...call, answer, isSettled: answer.some(({ status }) => status === "appended") };
    this.calls.push(made);
    return made;
  }

  /**
   * A repeat is told what the first try was told, and nothing is appended twice. A first try that appended nothing left nothing behind: its
   * first repeat is decided anew, and that decision stays.
   */
  repeat(call: Call, depth: number, now: number): readonly Told[] {
    if (!call.isSettled) call.answer = this.#appendGuarded(call, depth, now);
    call.isSettled = true;
    return call.answer;
  }

  #appendAll(call: Pick<Call, "producer" | "sequence">, drafts: readonly Draft[], now: number): readonly Told[] {
    const told = new Map<Draft, Told>();
    const ordered = this.partitions.flatMap((_, partition) => drafts.filter((draft) => draft.partition === partition));
    for (const [index, draft] of ordered.entries())
      told.set(draft, this.push(draft, `${call.producer}-${call.sequence + index}`, now));
    return drafts.map((draft) => told.get(draft) as Told);
  }

  /** Past a guard: what was sent before is not sent again, and what finds no room is refused. The rest is one append. */
  #appendGuarded(call: Pick<Call, "producer" | "sequence" | "drafts">, depth: number, now: number): readonly Told[] {
    let room = this.roomLeft(depth);
    const decided = new Map<Draft, Told | "new" | Draft>();
    for (const draft of call.drafts) {
      const { messageId } = draft;
      const known = this.lookUp(messageId, now);
      const first = call.drafts.find((other) => messageId !== null && other.messageId === messageId);
      const before = this.guard?.deduplicates === true && first !== draft ? first : undefined;
      if (known !== undefined) decided.set(draft, known);
      else if (before !== undefined) decided.set(draft, before);
      else if (room > 0) {
        room -= 1;
        decided.set(draft, "new");
      } else decided.set(draft, { status: "full", room });
    }
    const fresh = call.drafts.filter((draft) => decided.get(draft) === "new");
    const told = new Map(this.#appendAll(call, fresh, now).map((answer, index) => [fresh[index], answer]));
    for (const [draft, answer] of told) if (draft !== undefined) this.#remember(draft.messageId, answer, now);
    const answerOf = (draft: Draft): Told => {
      const decision = decided.get(draft);
      if (decision === undefined || decision === "new") return told.get(draft) as Told;
      if ("status" in decision) return decision;
      const first = answerOf(decision);
      return first.status === "full" ? first : { ...first, status: "duplicate" };
    };
    return call.drafts.map(answerOf);
  }

  /** How many messages a bounded topic takes. */
  roomLeft(depth: number): number {
    const most = this.guard?.maxDepth ?? null;
    return most === null ? Number.POSITIVE_INFINITY : Math.max(most - depth, 0);
  }

  lookUp(messageId: string | null, now: number): Told | undefined {
    if (this.guard?.deduplicates !== true || messageId === null) return undefined;
    const known = this.#known.get(messageId);
    return known !== undefined && known.until > now ? known.told : undefined;
  }

  #remember(messageId: string | null, told: Told, now: number): void {
    if (this.guard?.deduplicates !== true || messageId === null || told.status === "full") return;
    this.#known.set(messageId, { told: { ...told, status: "duplicate" }, until: now + hours.deduplicate });
  }

  /** The first offset appended at a time or later; the end when there is none. */
  offsetAt(partition: number, time: number): number {
    const found = this.partitions[partition]?.findIndex(
      (message, offset) => offset >= this.start(partition) && message.appendedAt >= time,
    );
    return found === undefined || found < 0 ? this.end(partition) : found;
  }

  /** Closes the newest segment; offsets go on as if nothing had happened. */
  roll(now: number): void {
    const number = (this.#segments.at(-1)?.number ?? 0) + 1;
    this.#segments.push({ number, createdAt: now, starts: this.partitions.map((messages) => messages.length) });
  }

  /**
   * Retention: closed segments go whole, the oldest first, once they were closed for long enough and no protected group needs anything of
   * them (`keepFrom`, per partition); the newest is closed when it is old and holds something.
   */
  trim(
    keepFrom: readonly (number | null)[],
    now: number,
  ): { readonly rolled: boolean; readonly dropped: readonly number[] } {
    const before = this.#segments;
    const mayGo = (segment: Segment, index: number) => {
      const next = before[index + 1];
      if (next === undefined || now - next.createdAt < hours.retention) return false;
      return next.starts.every((to, partition) => {
        const keep = keepFrom[partition] ?? null;
        return to === segment.starts[partition] || keep === null || to <= keep;
      });
    };
    const kept = before.findIndex((segment, index) => !mayGo(segment, index));
    const newest = before.at(-1);
    const rolled =
      newest !== undefined &&
      now - newest.createdAt > hours.segment &&
      newest.starts.some((from, partition) => from < this.end(partition));
    if (rolled) this.roll(now);
    this.#segments = this.#segments.slice(kept);
    return { rolled, dropped: before.slice(0, kept).map(({ number }) => number) };
  }
}
