import { limits } from "@sluice/kernel";

/**
 * A place in a topic, in each of its partitions: the beginning of what is kept, the end, an offset, or the first message that
 * was appended at a time or later (the database's clock; to be exact, the first whose batch was).
 *
 * @example
 * consumer(signups, { group: "report", start: { time: "2026-01-31T00:00:00Z" }, handler })
 */
export type Place = "earliest" | "latest" | { readonly offset: number } | { readonly time: Date | string | number };

/** A place as the database's functions read it; `undefined` for what is none. */
export function placeText(place: Place): string | undefined {
  if (place === "earliest" || place === "latest") return place;
  if (typeof place !== "object" || place === null) return undefined;
  if ("offset" in place)
    return Number.isSafeInteger(place.offset) && place.offset >= 0 ? String(place.offset) : undefined;
  const ms = timeMs(place.time);
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

/** A time in milliseconds since 1970; `undefined` for what is none, or lies outside the years 1970 to 9999. */
export function timeMs(time: Date | string | number): number | undefined {
  const ms = typeof time === "number" ? time : time instanceof Date ? time.getTime() : Date.parse(String(time));
  return Number.isFinite(ms) && ms >= 0 && ms <= limits.lastTimeMs ? ms : undefined;
}
