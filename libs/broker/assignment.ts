import { assignRange, assignRoundRobin } from "./assignment-in-turn.ts";
import { assignTopicSticky } from "./assignment-sticky.ts";
import type { AssignablePosition, TopicShare } from "./topic-share.ts";

/**
 * How a group's partitions are given to its members, by Kafka's names. `"sticky"`: evenly per topic, and each stays where it is unless
 * that would break the balance. `"range"`: each member gets partitions that follow each other, topic by topic. `"round-robin"`:
 * all partitions of all topics of the group in one list, in turn.
 */
export type Assignment = "sticky" | "range" | "round-robin";

/** A member that takes part in the group for a topic: it lives, or is awaited back. */
export interface LiveSubscription {
  readonly topic: number;
  readonly member: number;
  /** One member is to own all partitions of the group and topic; the others stand by. Default false. */
  readonly singleActive?: boolean;
  /** How it wants the group's partitions assigned. Default `"sticky"`. */
  readonly assignment?: Assignment;
  /** The name that it keeps over a restart; its number is another then. Default: none. */
  readonly staticId?: string | null;
}

/**
 * Who should own what in one group. Every position of a topic that has a subscriber gets one, the lanes of a partition the same one, in
 * the way that the group's oldest member asks for (see {@link assignmentInForce}). Where a subscriber asks for a
 * single active member, the one that has most of the topic already gets all of it, else the oldest.
 *
 * A pure function of rows that every member reads alike, so there is no coordinator; members that read at different
 * moments may disagree for one round, and the ownership lock settles it.
 *
 * @returns position → member
 */
export function assign(
  positions: readonly AssignablePosition[],
  subscriptions: readonly LiveSubscription[],
  assignment = assignmentInForce(subscriptions),
): ReadonlyMap<number, number> {
  const shares: TopicShare[] = [];
  const leaders = new Map<number, number>();
  for (const topic of [...new Set(positions.map((position) => position.topic))].sort((a, b) => a - b)) {
    const subscribed = subscriptions.filter((subscription) => subscription.topic === topic);
    const members = inOrder(subscribed);
    if (members.length === 0) continue;
    const ofTopic = positions.filter((position) => position.topic === topic).sort((a, b) => a.position - b.position);
    const isSingle = subscribed.some(({ singleActive }) => singleActive === true);
    const standing = leadersOf(ofTopic);
    for (const [position, leader] of standing) leaders.set(position, leader.position);
    shares.push({
      topic,
      positions: [...new Set(standing.values())],
      members: isSingle ? [activeMember(ofTopic, members)] : members,
    });
  }
  const given = share(assignment, shares, inOrder(subscriptions));
  const assigned = new Map<number, number>();
  for (const [position, leader] of leaders) {
    const member = given.get(leader);
    if (member !== undefined) assigned.set(position, member);
  }
  return assigned;
}

/**
 * The way in which a group's partitions are assigned: what its oldest member, whose number is the lowest, asks for. So a group changes
 * from one to another by restarting its members in turn, and is never of two minds. Default `"sticky"`.
 */
export function assignmentInForce(subscriptions: readonly LiveSubscription[]): Assignment {
  const [first, ...others] = subscriptions;
  if (first === undefined) return "sticky";
  const isOlder = (a: LiveSubscription, b: LiveSubscription) => a.member - b.member || a.topic - b.topic;
  const oldest = others.reduce((best, one) => (isOlder(one, best) < 0 ? one : best), first);
  return oldest.assignment ?? "sticky";
}

function share(
  assignment: Assignment,
  shares: readonly TopicShare[],
  everybody: readonly number[],
): ReadonlyMap<number, number> {
  if (assignment === "range") return assignRange(shares);
  if (assignment === "round-robin") return assignRoundRobin(shares, everybody);
  const load = new Map<number, number>();
  const given = new Map<number, number>();
  for (const one of shares) assignTopicSticky(one, load, given);
  return given;
}

function inOrder(subscriptions: readonly LiveSubscription[]): readonly number[] {
  const names = new Map(subscriptions.map(({ member, staticId }) => [member, staticId ?? null]));
  return [...names.keys()].sort((a, b) => {
    const [nameOfA, nameOfB] = [names.get(a) ?? null, names.get(b) ?? null];
    if (nameOfA !== null && nameOfB !== null) return nameOfA < nameOfB ? -1 : nameOfA > nameOfB ? 1 : a - b;
    return Number(nameOfA === null) - Number(nameOfB === null) || a - b;
  });
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
