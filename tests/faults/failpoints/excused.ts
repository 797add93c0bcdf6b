/** Statements at which nothing is struck, by why not. Each belongs to the statement's nature or names the tests that stand for it. */
export const excused: Readonly<Record<string, readonly string[]>> = {
  "a ROLLBACK does not fail, and where it is lost the server rolls back all the same": ["transaction/rollback"],
  "of migrating, which has every-statement-of-migrating.test.ts": ["store/migrations-record"],
  "only behind a pooler: tests/poolers": ["route/identity", "store/let-duty-go"],
  "within the user's own transaction, whose end is theirs: invariant 18 and delayed-sends": [
    "broker/insert-outbox",
    "call/delayed-insert",
    "call/outbox-insert",
    "call/recall",
  ],
  "once in the life of a topic, in one transaction that finds what is there when it is repeated": [
    "log/create-queue",
    "log/create-topic",
    "log/guard-topic",
    "log/raise-priorities",
    "log/roll-segment",
  ],
  "drops what is off the list already, and the next round drops what is left: libs/log/retention.test.ts": [
    "alone/lock-timeout",
    "log/forget-segment",
    "log/segment-is-empty",
    "retention/detach",
    "retention/drop",
  ],
  "reads, for whoever asked, and is told": [
    "broker/has-group",
    "broker/paused-partitions",
    "log/dropped-below",
    "log/offset-at",
  ],
  "says how fast messages go, and never whether: rate-limit, hours and release in tests/conformance": [
    "broker/release-group",
    "broker/report-hours",
    "broker/reserve-pace",
  ],
  "pauses, one row each that is read again with every look: member-pause and shared-pause in tests/conformance": [
    "broker/keep-member-paused",
    "broker/pause-member",
    "broker/pause-position",
    "broker/resume-member",
  ],
  "of static members: tests/conformance/static-members and tests/faults/failover": [
    "broker/claim-member",
    "broker/drop-carried",
  ],
  "passes over what was dropped to make room, under its own marks: tests/guards/drop-oldest": [
    "broker/pass-over",
    "broker/pass-over-shared",
  ],
  "of broadcasts, which handle at least once: one row, and repeated it changes nothing: conformance/broadcast": [
    "broker/add-dead-letter",
  ],
  "asks what became of a call that is never answered: conformance/half-open and libs/store/silence.test.ts": [
    "store/end-silent-backend",
    "store/working-backends",
  ],
  "only when much waits while a flush is under way: invariant 7, two flushes": [
    "log/append-after",
    "log/append-after-one",
  ],
  "only after a lost answer, which log/append-guarded has: it is the same call": ["log/append-guarded-again"],
  "counts as broker/count-attempts does, where another owner put the message off or memory had no room: put-off-messages, retries and poison":
    ["broker/begin-retries"],
  "gives a message up as broker/bury does, in one transaction, and repeated it changes nothing: retries in libs/broker and conformance":
    ["broker/drop-messages"],
  "notes what may have ended a process, before it is handed over: poison and suspects": ["broker/hand-out"],
  "settles a message under its claim, as handler/mark-retry-done does: shared-crash, shared-frozen, redriven and shared-redriven":
    [
      "broker/bury-claimed",
      "broker/bury-redriven",
      "broker/bury-retry",
      "broker/claim-redriven",
      "broker/finish-redriven",
      "broker/mark-redriven",
      "broker/move-and-pause",
      "broker/move-to-retry",
      "broker/next-redriven",
      "broker/put-off-and-pause",
      "broker/put-off-redriven",
      "broker/put-off-retry",
      "broker/release-leases",
      "broker/renew-redriven",
      "broker/renew-retries",
      "broker/uncount-redriven",
      "handler/mark-redriven-done",
    ],
  "tests/guards/idempotence and bounds": ["handler/claim-key", "stage/append-guarded"],
  "marks nothing: a broadcast has no position": ["handler/mark-broadcast"],
};
