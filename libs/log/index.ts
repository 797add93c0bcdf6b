export { recordSeparator } from "./append-statement.ts";
export { listTopics, openTopic, type StoredGuards, type TopicEntry } from "./catalog.ts";
export type {
  AppendEntry,
  AppendRequest,
  GuardedAnswer,
  GuardedAppendRequest,
  GuardedRecord,
  Log,
  PartitionEnds,
  PartitionName,
  ReadBatch,
  ReadRequest,
  ReadResult,
  RecordAttributes,
  TrimBounds,
  TrimReport,
} from "./log.ts";
export { PostgresLog } from "./postgres-log.ts";
export { nextProducerNumber } from "./producer-number.ts";
export { readerSettings } from "./segment-reader.ts";
