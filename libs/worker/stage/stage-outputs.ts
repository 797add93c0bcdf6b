import { type AnyTopic, isOutgoing, type Outgoing, outgoing, type Stage } from "@sluice/contract";
import { limits, SluiceError } from "@sluice/kernel";
import type { TopicEntry } from "@sluice/log";
import { encodeRecord, withMessageId } from "../producer/encode.ts";
import type { Destined } from "../producer/topic-producer.ts";

/** A topic that a stage produces to. */
export interface StageTopic {
  readonly entry: TopicEntry;
  /** Fails with INVALID_OPTIONS when there is no such partition. */
  pickPartition(record: Destined, wanted: number | undefined): number;
}

/** One statement's worth: batches for partitions of one topic. */
export interface StageAppend {
  readonly topic: TopicEntry;
  readonly entries: readonly {
    readonly partition: number;
    readonly count: number;
    readonly keys: string | null;
    readonly records: string;
    readonly attributes: string;
  }[];
}

interface OutputRecord {
  readonly key: string | null;
  readonly value: string;
  readonly attributes: string;
}

/** Gathers what the messages of one transaction produce: checked, encoded, sorted by where it goes. */
export class StageOutputs {
  readonly #stage: Stage;
  readonly #topics: ReadonlyMap<AnyTopic, StageTopic>;
  readonly #position: number;
  readonly #byTopic = new Map<StageTopic, Map<number, OutputRecord[]>>();
  #count = 0;
  #characters = 0;

  constructor(stage: Stage, topics: ReadonlyMap<AnyTopic, StageTopic>, position: number) {
    this.#stage = stage;
    this.#topics = topics;
    this.#position = position;
  }

  /**
   * Takes what map returned. Ids are made of the position, the offset of the message it comes from and a number: no two
   * messages have one, as each offset's transaction commits once.
   *
   * Fails with INVALID_VALUE, RECORD_TOO_LARGE or INVALID_OPTIONS.
   */
  add(output: unknown, offset: number): void {
    if (output === undefined) return;
    const entries: readonly unknown[] = Array.isArray(output) ? output : [output];
    for (const [number, entry] of entries.entries()) {
      this.#addOne(this.#asOutgoing(entry), `s-${this.#position}-${offset}-${number}`);
    }
  }

  /** What to append, in the order of the locks: topics ascending, partitions ascending, each within an append's limits. */
  appends(): StageAppend[] {
    const topics = [...this.#byTopic].sort(([a], [b]) => a.entry.number - b.entry.number);
    return topics.flatMap(([{ entry }, byPartition]) =>
      cut([...byPartition].sort(([a], [b]) => a - b)).map(
        (parts): StageAppend => ({
          topic: entry,
          entries: parts.map(([partition, records]) => ({
            partition,
            count: records.length,
            keys: records.some(({ key }) => key !== null) ? JSON.stringify(records.map(({ key }) => key)) : null,
            records: `[${records.map(({ value }) => value).join(",")}]`,
            attributes: `[${records.map(({ attributes }) => attributes).join(",")}]`,
          })),
        }),
      ),
    );
  }

  #asOutgoing(entry: unknown): Outgoing {
    if (isOutgoing(entry)) return entry;
    const [only, another] = this.#stage.targets;
    if (only !== undefined && another === undefined) return outgoing(only, entry);
    throw new SluiceError(
      "INVALID_OPTIONS",
      `stage ${this.#stage.consumer.group} produces to several topics: return outgoing(topic, value)`,
    );
  }

  #addOne({ topic, value, options }: Outgoing, id: string): void {
    const to = this.#topics.get(topic);
    if (to === undefined) {
      throw new SluiceError(
        "INVALID_OPTIONS",
        `stage ${this.#stage.consumer.group} does not name topic ${topic.name} in "to"`,
      );
    }
    const encoded = encodeRecord(topic, value, options);
    const { key, value: text, priority } = encoded;
    const attributes = withMessageId(encoded);
    this.#count += 1;
    this.#characters += text.length;
    if (this.#count > limits.stageRecords || this.#characters > limits.stageCharacters) {
      throw new SluiceError(
        "RECORD_TOO_LARGE",
        `stage ${this.#stage.consumer.group} produces more than ${limits.stageRecords} messages or ${limits.stageCharacters} characters in one transaction; nothing was written`,
      );
    }
    const partition = to.pickPartition({ key, priority }, options.partition);
    let byPartition = this.#byTopic.get(to);
    if (byPartition === undefined) {
      byPartition = new Map();
      this.#byTopic.set(to, byPartition);
    }
    const records = byPartition.get(partition);
    const record = {
      key,
      value: text,
      attributes: `${attributes === null ? "{" : `${attributes.slice(0, -1)},`}"id":"${id}"}`,
    };
    if (records === undefined) byPartition.set(partition, [record]);
    else records.push(record);
  }
}

type Parts = [partition: number, records: OutputRecord[]][];

/** Cuts into pieces that keep the limits of one append; a partition that is cut goes on first in the next piece. */
function cut(partitions: readonly (readonly [number, readonly OutputRecord[]])[]): Parts[] {
  const pieces: Parts[] = [];
  let [count, characters] = [Number.POSITIVE_INFINITY, 0];
  for (const [partition, records] of partitions) {
    let part: OutputRecord[] | undefined;
    for (const record of records) {
      if (count >= limits.appendRecords || (count > 0 && characters + record.value.length > limits.appendCharacters)) {
        pieces.push([]);
        [count, characters, part] = [0, 0, undefined];
      }
      if (part === undefined) {
        part = [];
        pieces.at(-1)?.push([partition, part]);
      }
      part.push(record);
      count += 1;
      characters += record.value.length;
    }
  }
  return pieces;
}
