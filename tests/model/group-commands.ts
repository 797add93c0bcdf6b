import { isSluiceError } from "@sluice/kernel";
import fc from "fast-check";
import { memberNames } from "./bench.ts";
import type { Destination } from "./broker-model.ts";
import { anyClaim, anyGroup, claim, claimOf, group, groupOf, partition, which } from "./choices.ts";
import { command, NothingToDo, pick } from "./command.ts";
import type { GroupModel } from "./group-model.ts";
import { agree } from "./system.ts";

const hourMs = 3_600_000;
const groupName = fc.constantFrom("a", "b");
const scope = fc.constantFrom<"all" | number>("all", 0, 1);
const start = fc.oneof(fc.constantFrom("earliest" as const, "latest" as const), fc.record({ offset: fc.nat(6) }));
const destination: fc.Arbitrary<Destination> = fc.oneof(
  start,
  fc.record({ hoursAgo: fc.nat(3).map((hours) => hours + 0.5) }),
  fc.record({ by: fc.integer({ min: -3, max: 3 }) }),
);

/** Who owns what. */
const ownershipCommands = [
  command(
    "take",
    { group, partition, member: fc.constantFrom(...memberNames) },
    async (model, system, { group: number, partition, member }) => {
      const group = groupOf(model, number);
      const position = group?.positions[partition];
      if (group === undefined || position === undefined) throw new NothingToDo();
      const isAnothers = position.heldBy !== null && position.heldBy !== member;
      const taken = await system.take(group.name, partition, member);
      if (isAnothers) {
        agree("taking what another's session stands for", taken, undefined);
        return;
      }
      const claim = model.take(group, partition, member);
      agree("what its new owner is told", taken, {
        epoch: claim.epoch,
        next: position.next,
        done: new Set([...position.noted].sort((a, b) => a - b)),
      });
      const waiting = await system.bench.retries.waiting(system.owner(claim).position);
      agree(
        "what its new owner finds waiting",
        waiting.map(({ offset, key, attempt, inHand }) => [offset, key, attempt, inHand]).sort(byOffset),
        [...position.retries]
          .map(
            ([
              offset,
              {
                message: { key },
                attempt,
                dueAt,
              },
            ]) => [offset, key, attempt, dueAt === null],
          )
          .sort(byOffset),
      );
    },
    anyGroup,
  ),
  command(
    "release",
    { claim },
    async (model, system, { claim: number }) => {
      const claim = claimOf(model, number);
      if (claim === undefined) throw new NothingToDo();
      const { position, member, epoch } = claim;
      await system.release(claim);
      position.release(epoch);
      if (position.heldBy === member) position.heldBy = null;
    },
    anyClaim,
  ),
  command("sever", { member: fc.constantFrom(...memberNames) }, async (model, system, { member }) => {
    await system.sever(member);
    for (const { positions } of model.groups.values())
      for (const position of positions) if (position.heldBy === member) position.heldBy = null;
  }),
];

/** What people do to groups. */
const administrationCommands = [
  command("join", { name: groupName, start }, async (model, system, { name, start }) => {
    await system.join(name, start);
    model.join(name, start);
  }),
  command(
    "protect",
    { group, isProtected: fc.boolean() },
    async (model, system, { group: number, isProtected }) => {
      const group = groupOf(model, number);
      if (group === undefined) throw new NothingToDo();
      await system.protect(group.name, isProtected);
      group.isProtected = isProtected;
    },
    anyGroup,
  ),
  command(
    "pause",
    { group, scope },
    async (model, system, { group: number, scope }) => {
      const group = groupOf(model, number);
      if (group === undefined) throw new NothingToDo();
      const options = scope === "all" ? {} : { topic: system.entry.name, partition: scope };
      const isNew = await system.bench.administration.pause(system.groupName(group.name), options);
      agree("pausing", isNew, !group.pauses.has(scope));
      group.pauses.add(scope);
    },
    anyGroup,
  ),
  command(
    "resume",
    { group, scope },
    async (model, system, { group: number, scope }) => {
      const group = groupOf(model, number);
      if (group === undefined) throw new NothingToDo();
      const options = scope === "all" ? {} : { topic: system.entry.name, partition: scope };
      const ended = scope === "all" ? [...group.pauses] : [scope].filter((pause) => group.pauses.has(pause));
      agree("resuming", await system.bench.administration.resume(system.groupName(group.name), options), ended.length);
      for (const pause of ended) group.pauses.delete(pause);
    },
    anyGroup,
  ),
  command(
    "survey",
    { group },
    async (model, system, { group: number }) => {
      const group = groupOf(model, number);
      if (group === undefined) throw new NothingToDo();
      const told = group.positions.map(({ partition, redriven }) => [
        partition,
        group.isPaused(partition),
        redriven.size > 0,
      ]);
      agree("what owners are told", await system.survey(group.name), told);
    },
    anyGroup,
  ),
  command(
    "move",
    { group, to: destination, force: fc.boolean() },
    async (model, system, { group: number, to, force }) => {
      const group = groupOf(model, number);
      if (group === undefined) throw new NothingToDo();
      const { administration } = system.bench;
      const names = [system.groupName(group.name), system.entry.name] as const;
      const moving =
        typeof to !== "string" && "by" in to
          ? administration.shift(...names, to.by, { force })
          : administration.reset(...names, placeOf(to), { force });
      const isAtWork = group.positions.some(({ heldBy }) => heldBy !== null);
      const moved = await moving.catch((error) => {
        if (isSluiceError(error, "GROUP_ACTIVE")) return "at work";
        throw error;
      });
      agree(
        "moving a group",
        typeof moved === "string" ? moved : moved.map(places),
        isAtWork && !force ? "at work" : model.move(group, to),
      );
    },
    anyGroup,
  ),
  command(
    "clone",
    { from: groupName, to: groupName },
    async (model, system, { from, to }) => {
      const source = model.groups.get(from);
      if (source === undefined) throw new NothingToDo();
      agree("cloning a group", (await system.clone(from, to)).map(places), model.clone(source, to));
    },
    (model, { from, to }) => from !== to && model.groups.has(from),
  ),
  command(
    "redrive",
    { group, which },
    async (model, system, { group: number, which }) => {
      const group = groupOf(model, number);
      const [partition, offset] = placeAt(group, which);
      if (group === undefined || partition === undefined || offset === undefined) throw new NothingToDo();
      const letter = (await system.letterNumber(group.name, partition, offset)) ?? -1;
      const result = await system.bench.letters.redrive(letter);
      const outcome = group.redrive(partition, offset);
      agree("redriving", result, { redriven: [], waiting: [], gone: [], [outcome]: [letter] });
    },
    anyGroup,
  ),
  command(
    "discard",
    { group, which },
    async (model, system, { group: number, which }) => {
      const group = groupOf(model, number);
      const [partition, offset] = placeAt(group, which);
      if (group === undefined || partition === undefined || offset === undefined) throw new NothingToDo();
      const letter = (await system.letterNumber(group.name, partition, offset)) ?? -1;
      agree("discarding", await system.bench.letters.discard(letter), { discarded: [letter], gone: [] });
      group.letters.delete(`${partition}/${offset}`);
    },
    anyGroup,
  ),
  command(
    "consumeAgain",
    { group, partition, offset: fc.nat(6) },
    async (model, system, { group: number, partition, offset }) => {
      const group = groupOf(model, number);
      if (group === undefined) throw new NothingToDo();
      const { administration } = system.bench;
      const outcome = await administration.consumeAgain(
        system.groupName(group.name),
        system.entry.name,
        partition,
        offset,
      );
      agree("consuming again", outcome, group.consumeAgain(partition, offset, model.log));
    },
    anyGroup,
  ),
];

export const groupCommands = [...ownershipCommands, ...administrationCommands];

/** The place of one of a group's dead letters. */
function placeAt(group: GroupModel | undefined, which: number): readonly number[] {
  return (
    pick([...(group?.letters.keys() ?? [])], which)
      ?.split("/")
      .map(Number) ?? []
  );
}

function places({
  partition,
  from,
  to,
  skipped,
  repeated,
}: {
  readonly partition: number;
  readonly from: number | null;
  readonly to: number;
  readonly skipped: number;
  readonly repeated: number;
}) {
  return { partition, from, to, skipped, repeated };
}

function placeOf(to: Exclude<Destination, { readonly by: number }>) {
  return typeof to !== "string" && "hoursAgo" in to ? { time: Date.now() - to.hoursAgo * hourMs } : to;
}

function byOffset(a: readonly unknown[], b: readonly unknown[]): number {
  return Number(a[0]) - Number(b[0]);
}
