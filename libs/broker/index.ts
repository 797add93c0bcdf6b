export {
  type Assignment,
  assign,
  type LiveSubscription,
} from "./assignment.ts";
export { DatabaseClock } from "./database-clock.ts";
export type { DeadLetter, DeadLetterReason } from "./dead-letter.ts";
export {
  type DeadLetterFilter,
  type DeadLetterPage,
  DeadLetters,
  type RedriveGroupOptions,
  type RedriveResult,
} from "./dead-letters.ts";
export { type DelayedMessages, Delays, insertDelayed, recallDelayed } from "./delays.ts";
export { Doorbell, parseRing, type Ring } from "./doorbell.ts";
export { assertDuty, Duty, type DutyOptions, type DutyRound } from "./duty.ts";
export { forgetExpired, forgetMarks, forgetMoves, refreshDepths } from "./forget.ts";
export {
  GroupAdministration,
  type GroupStatus,
  type MoveOptions,
  type PartitionMoveOptions,
  type PauseScope,
  type PositionMove,
  type ResumeOptions,
} from "./group-administration.ts";
export {
  type GroupPosition,
  Groups,
  type LeavingReason,
  type PositionCommit,
  type SurveyedSubscription,
  type TakenPosition,
} from "./groups.ts";
export { type ClaimedHalf, HalfMessages, type HalfToPrepare } from "./half-messages.ts";
export { type AppliedHours, reportHours } from "./hours-report.ts";
export type { KeptDeadLetter } from "./kept-dead-letter.ts";
export type { KeptMessage, Lifetime } from "./kept-message.ts";
export { MemberAdministration, type MemberStatus } from "./member-administration.ts";
export { keepMemberPaused, type MemberPause, memberPause } from "./member-pauses.ts";
export {
  addMember,
  claimMember,
  dropCarried,
  removeDeadMembers,
  removeMember,
  renewLease,
  type StaticClaim,
  type SubscribeOptions,
  subscribe,
  unsubscribe,
} from "./members.ts";
export type { OffsetRange } from "./offset-range.ts";
export { keepInOutbox, messagesJson, type WaitingMessage } from "./outbox.ts";
export { Pace } from "./pace.ts";
export { PassedOver, type SharedPass } from "./passed-over.ts";
export { type GroupPartition, pausedPartitions } from "./paused-partitions.ts";
export { type OwnedPosition, type RedrivenMessage, RedrivenMessages, type SettleOutcome } from "./redriven.ts";
export { type GroupMode, type Registration, registerConsumer } from "./registration.ts";
export { Relay } from "./relay.ts";
export { inboxChannel, type KeptReply, Replies, type Reply, repliesJson } from "./replies.ts";
export { requireGroup } from "./require-group.ts";
export { retentionBounds, trimTopics } from "./retention.ts";
export {
  type BegunRetry,
  type BuryOutcome,
  type CountOutcome,
  type OwnedAttempt,
  type OwnedOffset,
  type OwnedPutOff,
  type PutOff,
  type PutOffOutcome,
  Retries,
  type WaitingRetry,
} from "./retries.ts";
export { declareSchedule, Schedules } from "./schedules.ts";
export {
  type Lease,
  type LeaseAcknowledgement,
  type MovedMessage,
  type MoveOutcome,
  SharedLeases,
  type SharedPosition,
  type TopicPause,
} from "./shared-leases.ts";
export { SharedRedriven } from "./shared-redriven.ts";
export { type ClaimedMessages, type RetryClaim, SharedRetries, type TakenRetry } from "./shared-retries.ts";
