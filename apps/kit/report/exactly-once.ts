/** What arrived, against what had to. */
export interface Arrivals {
  readonly expected: number;
  readonly exactlyOnce: number;
  readonly missing: readonly string[];
  readonly doubled: readonly string[];
  /** Arrived and not expected; not counted against anybody here. */
  readonly others: readonly string[];
  /** Whether each of the expected is there once. */
  readonly isClean: boolean;
}

/** Compares what arrived with what had to, name by name. */
export function arrivals(expected: readonly string[], arrived: readonly string[]): Arrivals {
  const counts = new Map<string, number>(expected.map((name) => [name, 0]));
  const others: string[] = [];
  for (const name of arrived) {
    const count = counts.get(name);
    if (count === undefined) others.push(name);
    else counts.set(name, count + 1);
  }
  const having = (holds: (count: number) => boolean) =>
    [...counts].filter(([, count]) => holds(count)).map(([name]) => name);
  const exactlyOnce = having((count) => count === 1).length;
  return {
    expected: counts.size,
    exactlyOnce,
    missing: having((count) => count === 0),
    doubled: having((count) => count > 1),
    others,
    isClean: exactlyOnce === counts.size,
  };
}

/** In words, with the first names of who is missing or was served twice. */
export function arrivalsText(check: Arrivals): string {
  const list = (what: string, names: readonly string[]) =>
    names.length === 0
      ? []
      : [`${names.length} ${what}: ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`];
  return [
    `${check.exactlyOnce} of ${check.expected}`,
    ...list("missing", check.missing),
    ...list("more than once", check.doubled),
  ].join("; ");
}
