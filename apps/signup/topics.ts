import { topic } from "sluice";
import { z } from "zod";

/** One message for every user who signed up, with all that mail and SMS need: no consumer has to ask the web side. */
export const signups = topic("signups", {
  schema: z.object({ userId: z.uuid(), name: z.string(), email: z.email(), phone: z.string() }),
  key: (signup) => signup.userId,
  partitions: 8,
  retention: { time: "7d" },
});
