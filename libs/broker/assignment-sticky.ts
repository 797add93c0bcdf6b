import type { TopicShare } from "./topic-share.ts";

/**
 * Shares one topic out so that members differ by at most one, and a position stays where it is unless that would break the balance
 * (KIP-54's stickiness).
 *
 * @param load what each member was given of topics before, raised by what it is given here: among equals, who has least gets more
 * @param given gets position → member
 */
export function assignTopicSticky(
  { positions, members }: TopicShare,
  load: Map<number, number>,
  given: Map<number, number>,
): void {
  const held = new Map(members.map((member) => [member, [] as number[]]));
  for (const { position, owner } of positions) if (owner !== null) held.get(owner)?.push(position);

  // Those that hold most now keep the extra ones; among equals, those with least to do elsewhere get them.
  const rank = new Map(members.map((member, index) => [member, index]));
  const order = [...members].sort(
    (a, b) =>
      (held.get(b)?.length ?? 0) - (held.get(a)?.length ?? 0) ||
      (load.get(a) ?? 0) - (load.get(b) ?? 0) ||
      (rank.get(a) ?? 0) - (rank.get(b) ?? 0),
  );
  const fewest = Math.floor(positions.length / members.length);
  const withOneMore = positions.length % members.length;
  const room = new Map(order.map((member, index) => [member, fewest + (index < withOneMore ? 1 : 0)]));

  const give = (position: number, member: number) => {
    given.set(position, member);
    room.set(member, (room.get(member) ?? 0) - 1);
    load.set(member, (load.get(member) ?? 0) + 1);
  };
  for (const member of order)
    for (const position of held.get(member) ?? []) if ((room.get(member) ?? 0) > 0) give(position, member);
  for (const { position } of positions) {
    if (given.has(position)) continue;
    const member = order.find((candidate) => (room.get(candidate) ?? 0) > 0);
    if (member !== undefined) give(position, member);
  }
}
