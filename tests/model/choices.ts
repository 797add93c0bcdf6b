import fc from "fast-check";
import { partitions } from "./bench.ts";
import type { BrokerModel } from "./broker-model.ts";
import { pick, pickLast } from "./command.ts";
import type { Claim, GroupModel } from "./group-model.ts";

/** More often the first: what meets in one partition is worth more than what is in many. */
export const partition = fc.constantFrom(0, 0, partitions - 1);
/** Whose turn it is: 0 is who took a position last; others may have been fenced, and do not know. */
export const claim = fc.constantFrom(0, 0, 0, 1, 2);
export const group = fc.constantFrom(0, 0, 1);
/** Which one of those that there are. */
export const which = fc.nat(4);
/** In hours. */
export const delay = fc.nat(2);

export const claimOf = (model: BrokerModel, number: number): Claim | undefined => pickLast(model.claims, number);
export const anyClaim = (model: BrokerModel) => model.claims.length > 0;
export const groupOf = (model: BrokerModel, number: number): GroupModel | undefined =>
  pick([...model.groups.values()], number);
export const anyGroup = (model: BrokerModel) => model.groups.size > 0;
