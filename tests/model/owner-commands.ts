import type { KeptMessage } from "@sluice/broker";
import fc from "fast-check";
import type { BrokerModel } from "./broker-model.ts";
import { anyClaim, claim, claimOf, delay, which } from "./choices.ts";
import { command, NothingToDo, pick } from "./command.ts";
import type { Claim } from "./group-model.ts";
import type { Message } from "./log-model.ts";
import { agree, type System } from "./system.ts";

const hourMs = 3_600_000;
/** Nothing expires here. */
const lifetime = { appendedAtMs: 0, timeToLiveMs: null };

/** What an owner does with the messages in its hands. Whoever was fenced does it as well, and it comes to nothing. */
export const ownerCommands = [
  command(
    "handle",
    {
      claim,
      which,
      how: fc.constantFrom("in memory", "in its transaction", "and rolls back", "and its answer is lost"),
    },
    async (model, system, { claim: number, which, how }) => {
      const claim = claimOf(model, number);
      const offset = claim && pick(claim.inHand(model.log), which);
      if (claim === undefined || offset === undefined) throw new NothingToDo();
      const { group, position, epoch } = claim;
      await system.read(position.partition, offset).then(({ messages: [first] }) => {
        const { id, key, value } = model.log.at(position.partition, offset) as Message;
        agree("what is handed over", first, [offset, { id, key, value }]);
      });
      if (how === "in memory") {
        claim.done(offset, model.log);
        return;
      }
      if (how === "and rolls back") {
        agree("an attempt", await system.handleWithin(claim, offset, "rollback"), "rolled back");
        return;
      }
      const outcome = position.markDone(epoch, offset);
      agree("its mark", await system.handleWithin(claim, offset, "commit"), outcome);
      if (outcome === "done") model.effects.push(`${group.name}/${position.partition}/${offset}`);
      // Whoever did not hear that it is done has it in hand still.
      if (outcome !== "fenced" && how === "in its transaction") claim.done(offset, model.log);
    },
    anyClaim,
  ),
  command(
    "commit",
    { claim },
    async (model, system, { claim: number }) => {
      const claim = claimOf(model, number);
      if (claim === undefined) throw new NothingToDo();
      const { next, done } = claim.progress;
      agree("writing a position", await system.commit(claim), claim.position.commit(claim.epoch, next, done));
    },
    anyClaim,
  ),
  command(
    "fail",
    {
      claim,
      which,
      delay,
      blocks: fc.constantFrom<"key" | "partition" | "nothing">("key", "partition", "nothing"),
      asks: fc.boolean(),
    },
    async (model, system, { claim: number, which, delay, blocks, asks }) => {
      const claim = claimOf(model, number);
      const offset = claim && pick(claim.inHand(model.log), which);
      if (claim === undefined || offset === undefined) throw new NothingToDo();
      const retry = model.retryOf(claim, offset, delay, blocks);
      // One whose handler has committed and whose answer was lost is always asked for.
      const mayBeDone = asks || claim.position.marked.has(offset);
      const outcome = claim.position.putOff(claim.epoch, offset, retry, mayBeDone);
      const message = {
        ...kept(offset, retry.message),
        ...lifetime,
        isFirst: true,
        attempt: 1,
        delayMs: delay * hourMs,
        blocks,
        error: "failed",
        mayBeDone,
      };
      agree("putting off", await system.bench.retries.putOff([{ owner: system.owner(claim), message }]), [outcome]);
      if (outcome !== "fenced") claim.done(offset, model.log);
    },
    anyClaim,
  ),
  command(
    "giveUp",
    { claim, which },
    async (model, system, { claim: number, which }) => {
      const claim = claimOf(model, number);
      const offset = claim && pick(claim.inHand(model.log), which);
      if (claim === undefined || offset === undefined) throw new NothingToDo();
      if ((await bury(model, system, claim, offset)) !== "fenced") claim.done(offset, model.log);
    },
    anyClaim,
  ),
  command(
    "beginRetry",
    { claim, which, isRepeated: fc.boolean() },
    async (model, system, { claim: number, which, isRepeated }) => {
      const claim = claimOf(model, number);
      const due = [...(claim?.position.retries ?? [])].filter(([, { dueAt }]) => dueAt === null || dueAt <= model.now);
      const [offset, retry] = pick(due, which) ?? [];
      if (claim === undefined || offset === undefined || retry === undefined) throw new NothingToDo();
      const entry = { owner: system.owner(claim), offset, attempt: retry.attempt + 1 };
      // Its answer was lost.
      if (isRepeated) await system.bench.retries.begin([entry]);
      const [begun] = await system.bench.retries.begin([entry]);
      const attempt = claim.position.beginRetry(claim.epoch, offset);
      const { id, key, value } = kept(offset, retry.message);
      agree(
        "beginning a retry",
        typeof begun === "object" ? [begun.attempt, begun.id, begun.key, begun.value] : begun,
        attempt === "fenced" ? "fenced" : [attempt, id, key, value],
      );
    },
    anyClaim,
  ),
  command(
    "settleRetry",
    { claim, which, delay, how: fc.constantFrom("done", "done in its transaction", "failed again", "given up") },
    async (model, system, { claim: number, which, delay, how }) => {
      const claim = claimOf(model, number);
      const inHand = [...(claim?.position.retries ?? [])].filter(([, { dueAt }]) => dueAt === null);
      const [offset, retry] = pick(inHand, which) ?? [];
      if (claim === undefined || offset === undefined || retry === undefined) throw new NothingToDo();
      const { group, position, epoch } = claim;
      const { retries } = system.bench;
      const owner = system.owner(claim);
      if (how === "done in its transaction") {
        const outcome = position.markDone(epoch, offset);
        agree("its mark", await system.handleWithin(claim, offset, "commit"), outcome);
        if (outcome === "done") model.effects.push(`${group.name}/${position.partition}/${offset}`);
      } else if (how === "failed again") {
        const { attempt, blocks } = retry;
        const message = {
          ...kept(offset, retry.message),
          ...lifetime,
          isFirst: false,
          attempt,
          delayMs: delay * hourMs,
          blocks,
          error: "failed",
          mayBeDone: true,
        };
        const outcome = position.putOffAgain(epoch, offset, attempt, model.now + delay);
        agree("putting off again", await retries.putOff([{ owner, message }]), [outcome]);
      } else {
        if (how === "given up") await bury(model, system, claim, offset);
        agree("ending a retry", await retries.end([{ owner, offset }]), [position.endRetry(epoch, offset)]);
      }
    },
    anyClaim,
  ),
  command(
    "beginRedriven",
    { claim, which, isRepeated: fc.boolean() },
    async (model, system, { claim: number, which, isRepeated }) => {
      const claim = claimOf(model, number);
      const [offset, waiting] = pick([...(claim?.position.redriven ?? [])], which) ?? [];
      if (claim === undefined || offset === undefined || waiting === undefined) throw new NothingToDo();
      const redriven = (await system.redrivenNumber(claim, offset)) ?? -1;
      const begin = () => system.bench.redriven.begin(system.owner(claim), redriven, waiting.attempts + 1);
      if (isRepeated) await begin();
      const attempts = await begin();
      agree("beginning a redriven message", attempts, claim.position.beginRedriven(claim.epoch, offset));
    },
    anyClaim,
  ),
  command(
    "settleRedriven",
    { claim, which, how: fc.constantFrom("done", "given up") },
    async (model, system, { claim: number, which, how }) => {
      const claim = claimOf(model, number);
      const [offset, redriven] = pick([...(claim?.position.redriven ?? [])], which) ?? [];
      if (claim === undefined || offset === undefined || redriven === undefined) throw new NothingToDo();
      const number_ = (await system.redrivenNumber(claim, offset)) ?? -1;
      const messages = system.bench.redriven;
      if (how === "done") {
        agree(
          "settling",
          await messages.done(system.owner(claim), number_),
          claim.position.endRedriven(claim.epoch, offset),
        );
      } else {
        const failure = { reason: "rejected", error: "failed", attempts: redriven.attempts } as const;
        const outcome = await messages.bury(system.owner(claim), number_, failure);
        agree("keeping a letter again", outcome, model.buryRedriven(claim, offset, redriven));
      }
    },
    anyClaim,
  ),
];

function kept(offset: number, { id, key, value }: Message): KeptMessage {
  return { offset, id, key, value: JSON.stringify(value), headers: {}, timestamp: 0 };
}

async function bury(model: BrokerModel, system: System, claim: Claim, offset: number): Promise<string> {
  const { group, position } = claim;
  const letter = model.letterOf(claim, offset, position.retries.get(offset), "exhausted");
  const { reason, attempts } = letter;
  const { partition } = position;
  const outcome = position.bury(claim.epoch, offset);
  const death = {
    group: system.group(group.name),
    topic: system.entry.number,
    partition,
    reason,
    error: "failed",
    attempts,
  };
  const buried = await system.bench.retries.bury(system.owner(claim), { ...kept(offset, letter.message), ...death });
  agree("giving a message up", buried, outcome);
  if (outcome === "buried") group.bury(partition, offset, letter);
  return outcome;
}
