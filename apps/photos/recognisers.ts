import { keepProcesses } from "@sluice/app-kit";
import type { Logger } from "sluice";
import { type HoursName, timeZoneOf } from "./hours.ts";

/** The processes that recognise faces on this machine, and by whose clock. */
export type Recognisers = ReturnType<typeof recognisersOf>;

/** None run yet. `hours`: they live in a time zone where these are in force now; otherwise they go by the clock. */
export function recognisersOf(databaseUrl: string, timeZone: string | undefined, logger: Logger) {
  const onEnd = (id?: number) => logger.log("warn", "a recogniser has ended and is started again", { process: id });
  const processes = keepProcesses({ main: new URL("./recogniser.ts", import.meta.url), onEnd });
  let current: HoursName | undefined;
  return {
    processes,
    get hours() {
      return current;
    },
    async set(count: number, hours?: HoursName) {
      current = hours;
      const zone = hours === undefined ? timeZone : timeZoneOf(hours);
      await processes.set(count, { DATABASE_URL: databaseUrl, ...(zone === undefined ? {} : { TIME_ZONE: zone }) });
    },
  };
}
