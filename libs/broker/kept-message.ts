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
