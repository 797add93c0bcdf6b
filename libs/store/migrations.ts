import ledger from "../../migrations/0000_ledger.sql" with { type: "text" };
import log from "../../migrations/0001_log.sql" with { type: "text" };
import groups from "../../migrations/0002_groups.sql" with { type: "text" };
import outbox from "../../migrations/0003_outbox.sql" with { type: "text" };
import views from "../../migrations/0004_views.sql" with { type: "text" };
import append from "../../migrations/0005_append.sql" with { type: "text" };
import retries from "../../migrations/0006_retries.sql" with { type: "text" };
import verbs from "../../migrations/0007_verbs.sql" with { type: "text" };
import delaysAndSchedules from "../../migrations/0008_delays_and_schedules.sql" with { type: "text" };
import lookingAfter from "../../migrations/0009_looking_after.sql" with { type: "text" };
import stages from "../../migrations/0010_stages.sql" with { type: "text" };
import shared from "../../migrations/0011_shared.sql" with { type: "text" };
import guards from "../../migrations/0013_guards.sql" with { type: "text" };
import pace from "../../migrations/0014_pace.sql" with { type: "text" };
import priorities from "../../migrations/0015_priorities.sql" with { type: "text" };
import bounds from "../../migrations/0016_bounds.sql" with { type: "text" };
import replies from "../../migrations/0017_replies.sql" with { type: "text" };
import hours from "../../migrations/0018_hours.sql" with { type: "text" };
import sharedCare from "../../migrations/0019_shared_care.sql" with { type: "text" };
import delivery from "../../migrations/0020_delivery.sql" with { type: "text" };
import hints from "../../migrations/0021_hints.sql" with { type: "text" };
import refusals from "../../migrations/0022_refusals.sql" with { type: "text" };
import poolers from "../../migrations/0023_poolers.sql" with { type: "text" };
import members from "../../migrations/0024_members.sql" with { type: "text" };
import suspects from "../../migrations/0025_suspects.sql" with { type: "text" };
import alike from "../../migrations/0027_alike.sql" with { type: "text" };
import fences from "../../migrations/0028_fences.sql" with { type: "text" };
import carefulSteps from "../../migrations/0030_careful_steps.sql" with { type: "text" };
import failures from "../../migrations/0031_failures.sql" with { type: "text" };
import burials from "../../migrations/0032_burials.sql" with { type: "text" };
import leaseOrder from "../../migrations/0033_lease_order.sql" with { type: "text" };
import sharedFailures from "../../migrations/0034_shared_failures.sql" with { type: "text" };
import following from "../../migrations/0035_following.sql" with { type: "text" };
import certainFailures from "../../migrations/0036_certain_failures.sql" with { type: "text" };
import attemptsOnce from "../../migrations/0037_attempts_once.sql" with { type: "text" };
import boundedRelay from "../../migrations/0038_bounded_relay.sql" with { type: "text" };
import droppedOnce from "../../migrations/0039_dropped_once.sql" with { type: "text" };
import suspectsThatWereThere from "../../migrations/0040_suspects_that_were_there.sql" with { type: "text" };
import { defineMigration, type Migration } from "./migration.ts";

/** Every migration of Sluice, in the order in which they are applied. Append only: applied text never changes. */
export const migrations: readonly Migration[] = [
  defineMigration("0000_ledger", ledger),
  defineMigration("0001_log", log),
  defineMigration("0002_groups", groups),
  defineMigration("0003_outbox", outbox),
  defineMigration("0004_views", views),
  defineMigration("0005_append", append),
  defineMigration("0006_retries", retries),
  defineMigration("0007_verbs", verbs),
  defineMigration("0008_delays_and_schedules", delaysAndSchedules),
  defineMigration("0009_looking_after", lookingAfter),
  defineMigration("0010_stages", stages),
  defineMigration("0011_shared", shared),
  defineMigration("0013_guards", guards),
  defineMigration("0014_pace", pace),
  defineMigration("0015_priorities", priorities),
  defineMigration("0016_bounds", bounds),
  defineMigration("0017_replies", replies),
  defineMigration("0018_hours", hours),
  defineMigration("0019_shared_care", sharedCare),
  defineMigration("0020_delivery", delivery),
  defineMigration("0021_hints", hints),
  defineMigration("0022_refusals", refusals),
  defineMigration("0023_poolers", poolers),
  defineMigration("0024_members", members),
  defineMigration("0025_suspects", suspects),
  defineMigration("0027_alike", alike),
  defineMigration("0028_fences", fences),
  defineMigration("0030_careful_steps", carefulSteps),
  defineMigration("0031_failures", failures),
  defineMigration("0032_burials", burials),
  defineMigration("0033_lease_order", leaseOrder),
  defineMigration("0034_shared_failures", sharedFailures),
  defineMigration("0035_following", following),
  defineMigration("0036_certain_failures", certainFailures),
  defineMigration("0037_attempts_once", attemptsOnce),
  defineMigration("0038_bounded_relay", boundedRelay),
  defineMigration("0039_dropped_once", droppedOnce),
  defineMigration("0040_suspects_that_were_there", suspectsThatWereThere),
];
