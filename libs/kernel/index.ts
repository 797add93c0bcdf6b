export { type Clock, systemClock } from "./clock.ts";
export { type Duration, parseDurationMs } from "./duration.ts";
export {
  type ErrorCode,
  errorTable,
  isSluiceError,
  nameAndMessage,
  type Problem,
  problemsError,
  SluiceError,
  type SluiceErrorOptions,
  toError,
} from "./errors.ts";
export { limits } from "./limits.ts";
export { jsonLogger, type LogFields, type Logger, type LogLevel, silentLogger } from "./logger.ts";
export { type Deferred, deferred, Signal } from "./signal.ts";
