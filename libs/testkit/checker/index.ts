export type { Anomaly, AnomalyName } from "./anomaly.ts";
export { type Counts, checkHistory, type Finding, type Verdict } from "./check.ts";
export { HistoryWriter, mergeHistories, readHistory, steadyNow } from "./history-file.ts";
export {
  type EffectOperation,
  type FaultOperation,
  type GroupOperation,
  keyOf,
  nowhere,
  type Operation,
  type Operations,
  type PollOperation,
  type PositionOperation,
  type Run,
  runsOf,
  type SendOperation,
} from "./operation.ts";
