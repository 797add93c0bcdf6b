import { Delays, type Doorbell, Duty, type DutyOptions, Schedules } from "@sluice/broker";

/** Stands for what happens by the clock: moving messages that are due, and sending what schedules say. */
export function timedDuties(
  common: Pick<DutyOptions, "pool" | "session" | "owner" | "logger">,
  doorbell: Doorbell,
): readonly Duty[] {
  const delays = new Delays(common.pool, doorbell);
  const schedules = new Schedules(common.pool, common.logger);
  return [
    new Duty({ ...common, duty: "delays", onTaken: () => delays.reset(), round: (epoch) => delays.round(epoch) }),
    new Duty({
      ...common,
      duty: "schedules",
      onTaken: () => undefined,
      round: (epoch) => schedules.round(epoch),
    }),
  ];
}
