import { murmur2 } from "./murmur2.ts";

/** What a partitioner may look at. */
export interface PartitionerInput {
  readonly key: string | null;
  /** How many partitions the topic has; the answer is from 0 to this − 1. */
  readonly partitions: number;
  /** Records this producer has waiting for a partition: `waiting(3)`. */
  readonly waiting: (partition: number) => number;
}

/** Picks a record's partition. One is made per producer and topic, so it may keep state. */
export type Partitioner = (input: PartitionerInput) => number;

/** Makes a {@link Partitioner}: `partitioner: roundRobin` on a topic. */
export type PartitionerFactory = () => Partitioner;

/** The partition of a key: Kafka's murmur2 with the sign bit cleared, modulo the partitions. */
export function partitionOfKey(key: string, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}

/**
 * The default: a key goes where its hash says. Records without a key stick to one partition until it has gathered
 * {@link stickyRecords} of them, then move on, so that batches are large and partitions still even out (KIP-480, KIP-794).
 */
export const keyHash: PartitionerFactory = () => {
  let partition = -1;
  let sent = 0;
  return ({ key, partitions }) => {
    if (key !== null) return partitionOfKey(key, partitions);
    if (partition < 0 || sent >= stickyRecords) {
      partition = partition < 0 ? Math.floor(Math.random() * partitions) : partition + 1;
      sent = 0;
    }
    sent += 1;
    return partition % partitions;
  };
};

/** How many keyless records {@link keyHash} puts into one partition before it moves on. */
export const stickyRecords = 256;

/** One after the other, whatever the key. Gives up order per key for an even spread. */
export const roundRobin: PartitionerFactory = () => {
  let next = 0;
  return ({ partitions }) => next++ % partitions;
};

/** The partition with the fewest records waiting in this producer, whatever the key; ties go round. */
export const leastLoaded: PartitionerFactory = () => {
  let from = 0;
  return ({ partitions, waiting }) => {
    let best = from % partitions;
    let fewest = waiting(best);
    for (let step = 1; step < partitions && fewest > 0; step += 1) {
      const candidate = (from + step) % partitions;
      const count = waiting(candidate);
      if (count < fewest) {
        best = candidate;
        fewest = count;
      }
    }
    from = best + 1;
    return best;
  };
};
