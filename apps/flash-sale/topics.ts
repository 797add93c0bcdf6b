import { topic, type ValueOf } from "sluice";
import { z } from "zod";

/** How many orders may be in line. With 100 items and 50 places to wait for one, nobody behind has a chance. */
export const mostInLine = 150;

/** Who wants an item of which sale. */
const order = z.object({ sale: z.int(), buyer: z.string().min(1).max(64) });

/**
 * The line in front of the order service. It is bounded, and takes a buyer once: whoever clicks twice, or in two windows, hears
 * the place that the first click got. One partition, because a bounded topic is appended to by one call at a time anyway, and
 * the offset then is the place in line.
 */
export const orders = topic("flash-orders", {
  schema: order,
  key: ({ buyer }) => buyer,
  partitions: 1,
  deduplicate: { window: "1h", by: ({ sale, buyer }) => `${sale}:${buyer}` },
  maxDepth: mostInLine,
  overflow: "reject",
  retention: { time: "7d" },
});

/** One delayed message for each reservation: by then it has been paid, or the item goes to the next. */
export const paymentDeadlines = topic("flash-payment-deadlines", {
  schema: order,
  key: ({ sale }) => String(sale),
  partitions: 1,
  retention: { time: "7d" },
});

/** A message of both topics. */
export type Order = ValueOf<typeof orders>;
