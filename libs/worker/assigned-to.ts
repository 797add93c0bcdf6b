import { assign, type GroupPosition, type LiveSubscription } from "@sluice/broker";

/** The positions of groups that are this member's to own, by number. */
export function assignedTo(
  member: number,
  positions: readonly GroupPosition[],
  subscriptions: readonly (LiveSubscription & { readonly group: number })[],
): ReadonlyMap<number, GroupPosition> {
  const mine = new Map<number, GroupPosition>();
  for (const group of new Set(positions.map((position) => position.group))) {
    const inGroup = positions.filter((position) => position.group === group);
    const subscribed = subscriptions.filter((subscription) => subscription.group === group);
    const assignment = assign(inGroup, subscribed);
    for (const position of inGroup)
      if (assignment.get(position.position) === member) mine.set(position.position, position);
  }
  return mine;
}
