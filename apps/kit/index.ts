export { drain, type Switchable, switchable } from "./consumers.ts";
export { type Database, type DatabaseOptions, openDatabase } from "./database.ts";
export { type Frame, type FrameOptions, type Listening, openFrame, type ServeOptions } from "./frame.ts";
export { type MainContext, type MainOptions, noEnvironment, type RunningApp, runMain } from "./main.ts";
export { optional } from "./options.ts";
export { type Html, type Link, type Page, pictureElement, scenariosElement } from "./page/layout.ts";
export type { GroupPicture, Picture, TopicPicture } from "./picture/picture.ts";
export { keepProcesses, type Processes, type ProcessesOptions } from "./process/kept-processes.ts";
export { type OwnProcessOptions, ownProcess, type Variables } from "./process/own-process.ts";
export { runSideTask, type SideTaskOptions, sideTaskInput, sideTaskOutput } from "./process/side-task.ts";
export { atRate, pause, type RateOptions, type Timed, until } from "./report/at-rate.ts";
export { Crowd, type Person } from "./report/crowd.ts";
export { type Arrivals, arrivals, arrivalsText } from "./report/exactly-once.ts";
export { type CaughtUpOptions, caughtUp, lags } from "./report/lag.ts";
export { percentile } from "./report/percentile.ts";
export { type Measurement, measureByTurns, postAtRate } from "./report/post.ts";
export { type Alignment, milliseconds, table } from "./report/table.ts";
export { Visitor } from "./report/visitor.ts";
export {
  type Claim,
  claim,
  type JudgedResult,
  type Scenario,
  type ScenarioContext,
  type ScenarioResult,
} from "./scenarios/scenario.ts";
export type { Scenarios } from "./scenarios/scenarios.ts";
export { StartError } from "./start-error.ts";
export { type Fields, readFields } from "./web/fields.ts";
export { serveFile } from "./web/frame.ts";
export { readEvents } from "./web/read-events.ts";
export { runWorker, type WorkerOptions } from "./worker.ts";
