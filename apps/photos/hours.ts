import type { HoursOptions } from "sluice";

/** How fast recognition goes, by the hours of the day: it leaves the machine to others while they work. */
export const recognitionHours = {
  windows: [
    { name: "busy", from: "08:00", to: "18:00", concurrency: 1, rateLimit: { messages: 12, per: "1m" } },
    { name: "idle", from: "22:00", to: "06:00", concurrency: 1 },
  ],
  // The hours between, morning and evening.
  otherwise: { concurrency: 1, rateLimit: { messages: 24, per: "1m" } },
} as const satisfies HoursOptions;

/** An hour of the day in each of them; `normal` is when no window is open. */
const examples = { busy: 13, normal: 20, idle: 2 } as const;
export type HoursName = keyof typeof examples;

/**
 * A time zone in which these hours are in force now, whatever time it is here: the way to see them all within a minute. (In
 * names such as `Etc/GMT-5`, the clock is five hours ahead of UTC.)
 */
export function timeZoneOf(hours: HoursName, now = new Date()): string {
  const ahead = ((examples[hours] - now.getUTCHours() + 36) % 24) - 12;
  return ahead === 0 ? "Etc/GMT" : `Etc/GMT${ahead > 0 ? "-" : "+"}${Math.abs(ahead)}`;
}
