/**
 * Sluice: a message broker that lives in your Postgres.
 *
 * Declare topics and consumers, put them into an app, start it; send from anywhere, also inside your own transactions.
 */
export type {
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetters,
  GroupAdministration,
  GroupStatus,
  KeptDeadLetter,
  MoveOptions,
  PartitionMoveOptions,
  PauseScope,
  PositionMove,
  RedriveGroupOptions,
  RedriveResult,
} from "@sluice/broker";
export {
  type Acks,
  type AnyConsumer,
  type AnyTopic,
  type Backoff,
  bytes,
  type CommitMode,
  type ConsumedRecord,
  type Consumer,
  type ConsumerOptions,
  consumer,
  exponential,
  fixed,
  type Handler,
  type HandlerContext,
  type HandlerTransaction,
  type Headers,
  intervals,
  keyHash,
  leastLoaded,
  type MissedTicks,
  type Partitioner,
  type PartitionerFactory,
  type PartitionerInput,
  type Place,
  partitionOfKey,
  type RateLimit,
  type RecordOptions,
  roundRobin,
  type Schedule,
  type ScheduleOptions,
  type SendResult,
  schedule,
  type Topic,
  type TopicOptions,
  topic,
  type ValueOf,
} from "@sluice/contract";
export {
  type Duration,
  type ErrorCode,
  errorTable,
  isSluiceError,
  jsonLogger,
  type LogFields,
  type Logger,
  type LogLevel,
  limits,
  type Problem,
  SluiceError,
  silentLogger,
} from "@sluice/kernel";
export type { UserTransaction } from "@sluice/store";
export type { DelayOptions, ReadOptions, ReadTime, SendOptions } from "@sluice/worker";
export { type App, type AppOptions, app, type RunningApp } from "./app.ts";
export { type ConnectOptions, connect, type Sluice } from "./connect.ts";
export { errorLine, run } from "./run.ts";
