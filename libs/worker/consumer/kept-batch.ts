import type { KeptMessage, Lifetime, PutOff } from "@sluice/broker";
import type { AnyConsumer } from "@sluice/contract";
import type { ReadBatch } from "@sluice/log";
import { headersAt, idAt, keyAt, timestampAt } from "../batch-record.ts";

/** A batch's record, whole, as it is kept beside the log. */
export function keptMessageAt(batch: ReadBatch, index: number): KeptMessage {
  return {
    offset: batch.baseOffset + index,
    id: idAt(batch, index),
    key: keyAt(batch, index),
    value: JSON.stringify(batch.values[index]),
    headers: headersAt(batch, index),
    timestamp: timestampAt(batch, index),
  };
}

/** How long a batch's record may be handed over. */
export function lifetimeAt({ appendedAtMs, attributes }: ReadBatch, index: number): Lifetime {
  return { appendedAtMs, timeToLiveMs: attributes?.[index]?.timeToLive ?? null };
}

/**
 * A kept message in the form in which the log gives its batches, so that it goes the way of the others.
 *
 * @param lifetime default: what expires is not asked of it
 */
export function keptBatch(
  { offset, id, key, value, headers, timestamp }: KeptMessage,
  { appendedAtMs, timeToLiveMs }: Lifetime = { appendedAtMs: timestamp, timeToLiveMs: null },
): ReadBatch {
  return {
    baseOffset: offset,
    count: 1,
    characters: value.length,
    appendedAtMs,
    producer: null,
    sequence: 0,
    keys: [key],
    values: [JSON.parse(value) as unknown],
    attributes: [{ id, headers, timestamp, ...(timeToLiveMs === null ? {} : { timeToLive: timeToLiveMs }) }],
  };
}

/** What waits for a message that failed. */
export function blocksOf({ mode }: AnyConsumer, key: string | null): PutOff["blocks"] {
  if (mode === "ordered") return "partition";
  return key === null ? "nothing" : "key";
}
