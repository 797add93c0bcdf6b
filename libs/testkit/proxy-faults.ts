/** Whether a statement is the one that a fault is for. */
export type StatementMatch = (statement: string) => boolean;

/** A statement that was caught before the server got it. One of its calls decides what becomes of it. */
export interface HeldStatement {
  readonly statement: string;
  /** The server process that was to run it; 0 where the server has not told it. */
  readonly backendPid: number;
  /** Lets it, and what came after it, go to the server. */
  release(): void;
  /** Lets it go to the server, which does it, and resets the connection in place of its answer. */
  releaseUnanswered(): void;
  /**
   * The server fails it with this SQLSTATE, in the transaction that it was to run in, and gets what came after it. A COMMIT that fails
   * has ended its transaction, as it does when a deferred constraint is violated.
   */
  fail(sqlState: string): void;
  /** Ends its connection at once, both ways, with a reset. */
  cut(): void;
}

/** What is wrong with the network at the moment; shared by all connections of a proxy. */
export interface Faults {
  dropNotifications: boolean;
  droppedNotifications: number;
  delayMs: number;
  refuse: boolean;
  observe: ((statement: string) => void) | undefined;
  sliceBytes: number | undefined;
  mode: "pass" | "freeze" | "black-hole";
  cutAfterBytes: number | undefined;
  /** Taken by the first connection that meets it. */
  swallow: { readonly match: StatementMatch; readonly onSwallowed: () => void } | undefined;
  hold: { readonly match: StatementMatch; readonly onHeld: (held: HeldStatement) => void } | undefined;
  silence: { readonly match: StatementMatch; readonly onSilent: () => void } | undefined;
}
