const encoder = new TextEncoder();
const scratch = new Uint8Array(3 * 1_024 + 3);

/**
 * Murmur2 of a key's UTF-8 bytes as Kafka's default partitioner computes it, so that a key lands in the partition
 * where Kafka would put it. (Austin Appleby's MurmurHash2, seed 0x9747b28c; Apache Kafka, `Utils.murmur2`.)
 */
export function murmur2(key: string): number {
  const { written: length } = encoder.encodeInto(key, scratch);
  const multiplier = 0x5bd1e995;
  let hash = 0x9747b28c ^ length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    let word =
      (scratch[at] as number) |
      ((scratch[at + 1] as number) << 8) |
      ((scratch[at + 2] as number) << 16) |
      ((scratch[at + 3] as number) << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    word = Math.imul(word, multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const rest = length - at;
  if (rest >= 3) hash ^= (scratch[at + 2] as number) << 16;
  if (rest >= 2) hash ^= (scratch[at + 1] as number) << 8;
  if (rest >= 1) {
    hash ^= scratch[at] as number;
    hash = Math.imul(hash, multiplier);
  }
  hash ^= hash >>> 13;
  hash = Math.imul(hash, multiplier);
  hash ^= hash >>> 15;
  return hash;
}
