export { type AssignablePosition, assignSticky, type LiveSubscription } from "./assignment.ts";
export { type DelayedMessages, Delays, insertDelayed, recallDelayed } from "./delays.ts";
export { Doorbell, parseRing, type Ring } from "./doorbell.ts";
export { Duty, type DutyOptions, type DutyRound, duties } from "./duty.ts";
export {
  type DeadLetter,
  type GroupPosition,
  Groups,
  type OffsetRange,
  type PositionCommit,
  type TakenPosition,
} from "./groups.ts";
export { addMember, removeDeadMembers, removeMember, renewLease, subscribe } from "./members.ts";
export { Pace } from "./pace.ts";
export { Relay } from "./relay.ts";
export {
  type BegunRetry,
  type OwnedPosition,
  type PutOff,
  type PutOffOutcome,
  Retries,
  type WaitingRetry,
} from "./retries.ts";
export { declareSchedule, Schedules } from "./schedules.ts";
