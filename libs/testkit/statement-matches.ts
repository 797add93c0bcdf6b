import type { StatementMatch } from "./proxy-faults.ts";

/** A COMMIT by itself, as drivers say it. */
export const isCommit: StatementMatch = (statement) => statement.trim().toLowerCase() === "commit";

/** An append to the log by a producer. */
export const isAppend: StatementMatch = (statement) => statement.includes("sluice_log.append_");
