export { listTopics, openTopic, type TopicEntry } from "./catalog.ts";
export type {
  AppendEntry,
  AppendRequest,
  Log,
  PartitionEnds,
  PartitionName,
  ReadBatch,
  ReadRequest,
  ReadResult,
  RecordAttributes,
  TrimReport,
} from "./log.ts";
export { PostgresLog } from "./postgres-log.ts";
export { nextProducerNumber } from "./producer-number.ts";
