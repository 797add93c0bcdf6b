/** The bounds that hold everywhere. Each is a promise to the operator: nothing in Sluice grows past it. */
export const limits = {
  /** Characters of a topic's name: the name of its view is an SQL identifier, which Postgres cuts at 63 bytes. */
  topicNameCharacters: 63,
  /** The first and the last time that is one, in milliseconds since 1970: the years 1 to 9999. */
  firstTimeMs: -62_135_596_800_000,
  lastTimeMs: 253_402_300_799_999,
  /** The longest lease of an app, in milliseconds: one day. */
  leaseMs: 86_400_000,
  /** Characters of an app's name. */
  appNameCharacters: 120,
  /** Characters of a group's name. */
  groupNameCharacters: 120,
  /** Characters of a schedule's name. */
  scheduleNameCharacters: 120,
  /** Characters of a schedule's cron expression. */
  cronCharacters: 200,
  /** Partitions of one topic: with the topic's number they make up one 31-bit advisory lock key. */
  partitions: 1_024,
  /** Priorities of one topic: each is a partition of the log for every one that keys are spread over. */
  priorities: 10,
  /** Bytes of a record's key, in UTF-8. */
  keyBytes: 1_024,
  /** Bytes of a record's value as JSON, in UTF-8; a topic may set less. */
  valueBytes: 1_048_576,
  /** Bytes of a record's headers as JSON, in UTF-8. */
  headersBytes: 16_384,
  /** Characters of a message id, by which a topic that deduplicates knows a message. */
  messageIdCharacters: 128,
  /** How long a topic may remember message ids, in milliseconds: seven days. */
  deduplicationWindowMs: 604_800_000,
  /** Messages that a bounded topic may hold. */
  topicDepth: 1_000_000_000,
  /** Characters of a key of `idempotent`. */
  idempotenceKeyCharacters: 512,
  /** Records of one append, and so of one batch in the log. */
  appendRecords: 2_000,
  /** Messages that one handing-over may hold back with `c.send`. */
  heldSends: 2_000,
  /** The longest time limit of a handler, and the longest that `c.extend` asks for at once, in milliseconds. */
  handlerMs: 3_600_000,
  /** The longest that `c.retry` and `c.release` put a message off, in milliseconds. */
  putOffMs: 604_800_000,
  /** Messages of one call of a batch handler. */
  batchMessages: 1_000,
  /** Requests of one process that wait for their answers. */
  waitingRequests: 10_000,
  /** The longest that a request waits for its answer, in milliseconds. */
  requestMs: 3_600_000,
  /** Bytes of a correlation id, in UTF-8. */
  correlationBytes: 128,
  /** Characters of one append's values; one record may be larger than this, never a second. */
  appendCharacters: 1_048_576,
  /** Characters of a filter. */
  filterCharacters: 4_096,
  /** Parentheses and negations within each other in a filter. */
  filterDepth: 32,
  /** Conditions and listed values of a filter. */
  filterNodes: 256,
  /** Records that a stage produces in one transaction. */
  stageRecords: 10_000,
  /** Characters of the values that a stage produces in one transaction. */
  stageCharacters: 16_777_216,
} as const;
