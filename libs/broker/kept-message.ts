/** How long a message may be handed over. */
export interface Lifetime {
  /** When it entered the log, in milliseconds since 1970, by the database's clock. */
  readonly appendedAtMs: number;
  /** Its own time to live; `null`: its topic's, if that has one. */
  readonly timeToLiveMs: number | null;
}

/** A message that is kept whole beside the log, because the log may drop it before it is done with. */
export interface KeptMessage {
  /** Where it is, or was, in the log. */
  readonly offset: number;
  readonly id: string;
  readonly key: string | null;
  /** As JSON. */
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}
