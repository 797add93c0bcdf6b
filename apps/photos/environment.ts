import { optional } from "@sluice/app-kit";
import { z } from "zod";

/** What a recogniser reads from the environment besides DATABASE_URL. */
export const recogniserEnvironment = z.object({
  TIME_ZONE: optional(z.string().refine(isTimeZone, "must be a time zone such as Europe/Berlin")),
});

/** What the app reads. */
export const photosEnvironment = recogniserEnvironment.extend({
  RECOGNISERS: optional(z.coerce.number("must be a number").int("must be a whole number").min(0).max(16)),
  FACE_THRESHOLD: optional(z.coerce.number("must be a number").gt(0, "must be above 0").max(2, "must be at most 2")),
});

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}
