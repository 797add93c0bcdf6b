import { optional } from "@sluice/app-kit";
import { z } from "zod";

/** What the app reads from the environment. */
export const flashSaleEnvironment = z.object({
  SESSION_SECRET: optional(z.string().min(32, "must have at least 32 characters")),
  BURST_PER_SECOND: optional(z.coerce.number("must be a number").int("must be whole").min(100).max(5_000)),
});

/** What {@link flashSaleEnvironment} gives. */
export type FlashSaleEnvironment = z.infer<typeof flashSaleEnvironment>;
