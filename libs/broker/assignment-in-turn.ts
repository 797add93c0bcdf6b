import type { TopicShare } from "./topic-share.ts";

/**
 * Kafka's RangeAssignor: within each topic, the first member gets the first partitions, and so on; where they do not go up evenly, the
 * first ones have one more. Partitions of equal number of topics that have as many go to one member.
 *
 * @returns position → member
 */
export function assignRange(shares: readonly TopicShare[]): ReadonlyMap<number, number> {
  const given = new Map<number, number>();
  for (const { positions, members } of shares) {
    const fewest = Math.floor(positions.length / members.length);
    const withOneMore = positions.length % members.length;
    let next = 0;
    for (const [index, member] of members.entries()) {
      const count = fewest + (index < withOneMore ? 1 : 0);
      for (const { position } of positions.slice(next, next + count)) given.set(position, member);
      next += count;
    }
  }
  return given;
}

/**
 * Kafka's RoundRobinAssignor: the partitions of all topics in one list, given to the members in turn; one that does not subscribe to a
 * partition's topic is passed over.
 *
 * @param everybody the members of the group, in order
 * @returns position → member
 */
export function assignRoundRobin(
  shares: readonly TopicShare[],
  everybody: readonly number[],
): ReadonlyMap<number, number> {
  const given = new Map<number, number>();
  let turn = 0;
  for (const { positions, members } of shares) {
    for (const { position } of positions) {
      // Ends: each topic has a member, and everybody comes round.
      while (!members.includes(everybody[turn % everybody.length] as number)) turn += 1;
      given.set(position, everybody[turn % everybody.length] as number);
      turn += 1;
    }
  }
  return given;
}
