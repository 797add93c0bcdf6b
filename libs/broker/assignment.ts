/** A partition that a group must have an owner for. */
export interface AssignablePosition {
  readonly position: number;
  readonly topic: number;
  /** Who took it last; may be gone. */
  readonly owner: number | null;
  /** Positions of a topic that have the same one go to one member: the lanes of a partition. Default: each by itself. */
  readonly bundle?: number;
}

/** A live member that takes part in the group for a topic. */
export interface LiveSubscription {
  readonly topic: number;
  readonly member: number;
  /** One member is to own all partitions of the group and topic; the others stand by. Default false. */
  readonly singleActive?: boolean;
}

/**
 * Who should own what in one group: every position of a topic that has a live subscriber gets one, members differ by at
 * most one within a topic (counting a bundle as one), and a position stays where it is unless that would break the balance
 * (KIP-54's stickiness).
 * Where a subscriber asks for a single active member, the one that has most of the topic already gets all of it, else the
 * oldest.
 *
 * A pure function of rows that every member reads alike, so there is no coordinator; members that read at different
 * moments may disagree for one round, and the ownership lock settles it.
 *
 * @returns position → member
 */
export function assignSticky(
  positions: readonly AssignablePosition[],
  subscriptions: readonly LiveSubscription[],
): ReadonlyMap<number, number> {
  const assignment = new Map<number, number>();
  const load = new Map<number, number>();
  for (const topic of [...new Set(positions.map((position) => position.topic))].sort(ascending)) {
    const subscribed = subscriptions.filter((subscription) => subscription.topic === topic);
    const members = [...new Set(subscribed.map(({ member }) => member))];
    if (members.length === 0) continue;
    const ofTopic = positions.filter((position) => position.topic === topic).sort((a, b) => a.position - b.position);
    const isSingle = subscribed.some(({ singleActive }) => singleActive === true);
    const leaders = leadersOf(ofTopic);
    assignTopic(
      [...new Set(leaders.values())],
      isSingle ? [activeMember(ofTopic, members)] : members,
      load,
      assignment,
    );
    for (const { position } of ofTopic) {
      const member = assignment.get(leaders.get(position)?.position ?? position);
      if (member !== undefined) assignment.set(position, member);
    }
  }
  return assignment;
}

/** The position that stands for each: the first of its bundle, owned by who has the first of the bundle that anybody has. */
function leadersOf(positions: readonly AssignablePosition[]): ReadonlyMap<number, AssignablePosition> {
  const leaders = new Map<number, AssignablePosition>();
  const bundles = Map.groupBy(positions, ({ position, bundle }) =>
    bundle === undefined ? `${position}` : `b${bundle}`,
  );
  for (const [first, ...others] of bundles.values()) {
    if (first === undefined) continue;
    const owner = first.owner ?? others.find((other) => other.owner !== null)?.owner ?? null;
    const leader = { ...first, owner };
    for (const { position } of [first, ...others]) leaders.set(position, leader);
  }
  return leaders;
}

/** The one that holds most; among equals the oldest, whose number is the lowest. */
function activeMember(positions: readonly AssignablePosition[], members: readonly number[]): number {
  const held = (member: number) => positions.filter(({ owner }) => owner === member).length;
  return members.reduce((best, member) => {
    const more = held(member) - held(best);
    return more > 0 || (more === 0 && member < best) ? member : best;
  });
}

function assignTopic(
  positions: readonly AssignablePosition[],
  members: readonly number[],
  load: Map<number, number>,
  assignment: Map<number, number>,
): void {
  const held = new Map(members.map((member) => [member, [] as number[]]));
  for (const { position, owner } of positions) if (owner !== null) held.get(owner)?.push(position);

  // Those that hold most now keep the extra ones; among equals, those with least to do elsewhere get them.
  const order = [...members].sort(
    (a, b) =>
      (held.get(b)?.length ?? 0) - (held.get(a)?.length ?? 0) || (load.get(a) ?? 0) - (load.get(b) ?? 0) || a - b,
  );
  const fewest = Math.floor(positions.length / members.length);
  const withOneMore = positions.length % members.length;
  const room = new Map(order.map((member, index) => [member, fewest + (index < withOneMore ? 1 : 0)]));

  const give = (position: number, member: number) => {
    assignment.set(position, member);
    room.set(member, (room.get(member) ?? 0) - 1);
    load.set(member, (load.get(member) ?? 0) + 1);
  };
  for (const member of order)
    for (const position of held.get(member) ?? []) if ((room.get(member) ?? 0) > 0) give(position, member);
  for (const { position } of positions) {
    if (assignment.has(position)) continue;
    const member = order.find((candidate) => (room.get(candidate) ?? 0) > 0);
    if (member !== undefined) give(position, member);
  }
}

function ascending(a: number, b: number): number {
  return a - b;
}
