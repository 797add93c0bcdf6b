/** A partition of the log that members of a group lease from. */
export interface UrgentPosition {
  readonly position: number;
  readonly priority: number;
}

/**
 * The positions to look at for messages, most urgent first, within a priority beginning with the next in turn. Down to the lowest
 * priority that may have something; above it those are looked at, too, of which nobody said so: a doorbell may come late, and
 * what is more urgent must not wait for it while less urgent messages are leased.
 */
export function inUrgency(
  positions: readonly UrgentPosition[],
  turn: number,
  isHopeful: (position: number) => boolean,
): readonly number[] {
  const hopeful = positions.filter(({ position }) => isHopeful(position));
  const least = Math.min(...hopeful.map(({ priority }) => priority));
  const byPriority = [...Map.groupBy(positions, ({ priority }) => priority)].sort(([a], [b]) => b - a);
  return byPriority
    .filter(([priority]) => priority >= least)
    .flatMap(([, alike]) => alike.map((_, index) => alike[(index + turn) % alike.length] as UrgentPosition))
    .filter(({ position, priority }) => priority > least || isHopeful(position))
    .map(({ position }) => position);
}
