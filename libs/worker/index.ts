export { HandlerTransactions } from "./consumer/handler-transaction.ts";
export { type IdempotentOptions, idempotent } from "./consumer/idempotent.ts";
export { joinConsumer } from "./joining.ts";
export type { DelayOptions } from "./producer/delayed.ts";
export { Producer, type ProducerOptions, type SendOptions } from "./producer/producer.ts";
export { type ReadOptions, type ReadTime, readPartition } from "./reader.ts";
export { type JoinedConsumer, Worker, type WorkerContext, type WorkerOptions } from "./worker.ts";
