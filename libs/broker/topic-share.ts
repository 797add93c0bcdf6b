/** A partition that a group must have an owner for. */
export interface AssignablePosition {
  readonly position: number;
  readonly topic: number;
  /** Who took it last; may be gone. */
  readonly owner: number | null;
  /** Positions of a topic that have the same one go to one member: the lanes of a partition. Default: each by itself. */
  readonly bundle?: number;
}

/** What one topic of a group has to share out: bundles by the position that stands for each, in order, and who may have them. */
export interface TopicShare {
  readonly topic: number;
  readonly positions: readonly AssignablePosition[];
  /** Static members by name, then the others by number: a restart of a static one changes nothing. */
  readonly members: readonly number[];
}
