import { setTimeout as wait } from "node:timers/promises";
import { fixed, isSluiceError, topic } from "sluice";
import { z } from "zod";
import type { Room } from "./room.ts";

export const letters = topic("letters", { schema: z.string(), partitions: 2 });
export const parcels = topic("parcels", { schema: z.string(), partitions: 2 });

/** Consumers that write their positions soon, and never give up. */
export const quick = { commitInterval: 20, retry: { attempts: 1_000, backoff: fixed("5ms") } } as const;

export const appOptions = { poll: "100ms", drain: "1s" } as const;

/** Three messages over the partitions, sent without the proxy. */
export async function sendThree(room: Room): Promise<string[]> {
  const values = [room.value(), room.value(), room.value()];
  await room.sender.sendBatch(letters, values);
  return values;
}

/** Calls until it does not fail, as whoever is told of a failure may. Each time it must have told with an error of Sluice. */
export async function insist<Result>(call: () => Promise<Result>): Promise<Result> {
  for (let times = 0; ; times += 1) {
    try {
      return await call();
    } catch (error) {
      if (!isSluiceError(error) || times >= 500) throw error;
      await wait(20);
    }
  }
}
