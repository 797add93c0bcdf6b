export { type Backoff, exponential, fixed, intervals } from "./backoff.ts";
export { type Batching, type BatchOptions, batchOf } from "./batch.ts";
export { type Cadence, nextTick, ticksUntil } from "./cadence.ts";
export type {
  CheckBack,
  CheckBackDecision,
  HalfMessage,
  HalfMessageInfo,
  HalfOutcome,
  PrepareOptions,
} from "./check-back.ts";
export {
  type AnyConsumer,
  type AnyPatternConsumer,
  type BatchConsumerOptions,
  type BatchHandler,
  type CommitMode,
  type Consumer,
  type ConsumerMode,
  type ConsumerOf,
  type ConsumerOptions,
  consumer,
  type Handler,
  type PatternConsumer,
} from "./consumer.ts";
export type { BatchContext, HandlerContext, HandlerTransaction, RetryOptions, Verb } from "./context.ts";
export { type FilteredRecord, matchesFilter } from "./filter/evaluate.ts";
export {
  type Filter,
  type FilterNode,
  type FilterOperand,
  type LikePart,
  numberCharacters,
  numberForm,
} from "./filter/node.ts";
export { parseFilter } from "./filter.ts";
export type { Deduplication, GuardOptions, MessageGuardOptions, Overflow, TopicGuards } from "./guards.ts";
export type { Day, DeclaredWindow, Hours, HoursOptions, HoursPace, HoursWindow } from "./hours.ts";
export { type OpenWindow, openWindow } from "./hours-calendar.ts";
export { type LoggingOptions, logging } from "./logging.ts";
export { compose, type Middleware, middlewareProblem, type Next } from "./middleware.ts";
export {
  keyHash,
  leastLoaded,
  type Partitioner,
  type PartitionerFactory,
  type PartitionerInput,
  partitionOfKey,
  roundRobin,
} from "./partitioner.ts";
export { type AnyTopicPattern, type PatternOptions, pattern, type TopicPattern } from "./pattern.ts";
export { type Place, placeText, timeMs } from "./place.ts";
export {
  basePartitions,
  type Lane,
  type Lanes,
  laneOf,
  type MessagePriorityOptions,
  type PriorityOptions,
  partitionOfLane,
  priorityProblem,
} from "./priority.ts";
export { type RateLimit, rateLimitIntervalMs, rateLimitProblems } from "./rate-limit.ts";
export type { Acks, ConsumedRecord, Headers, RecordOptions, SendResult } from "./record.ts";
export { type Asked, askedBy, askingHeaderNames, askingHeaders, type RequestOptions } from "./request.ts";
export { type MissedTicks, type Schedule, type ScheduleOptions, schedule } from "./schedule.ts";
export {
  isOutgoing,
  type Outgoing,
  outgoing,
  type Stage,
  type StageInput,
  type StageOptions,
  type StageOutput,
  type StageTarget,
  stage,
} from "./stage.ts";
export {
  type AnyTopic,
  type ReplyOf,
  type Topic,
  type TopicOptions,
  type TopicStorage,
  topic,
  type ValueOf,
} from "./topic.ts";
export { type TraceLink, type Tracer, type TraceSpan, tracing } from "./tracing.ts";
export { bytes, isUnstorable, type ValueCodec } from "./value.ts";
