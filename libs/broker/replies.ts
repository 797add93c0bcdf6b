import type { Asked } from "@sluice/contract";
import { type Pool, textArrayLiteral } from "@sluice/store";
import type { DeadLetterReason } from "./dead-letter.ts";
import answerStatement from "./sql/answer.sql" with { type: "text" };
import readStatement from "./sql/read-replies.sql" with { type: "text" };

/** An answer, or that there will be none. */
export type Reply = Asked & ({ readonly value: string } | { readonly failure: DeadLetterReason });

/** What was kept for whoever asked. */
export interface KeptReply {
  readonly correlation: string;
  /** As JSON; `null` when there will be no answer. */
  readonly value: string | null;
  readonly failure: DeadLetterReason | null;
}

/** Answers that one read gives, at most: each may be as large as a value may be. */
const readReplies = 64;

/** The channel on which whoever has this inbox is rung for. */
export function inboxChannel(inbox: string): string {
  return `sluice_inbox_${inbox}`;
}

/** Answers as sluice.answer takes them; values keep their spelling. */
export function repliesJson(replies: readonly Reply[]): string {
  const texts = replies.map((reply) => {
    const { inbox, correlation, withinMs } = reply;
    const asked = JSON.stringify({ inbox, correlation, withinMs }).slice(0, -1);
    return "value" in reply ? `${asked},"value":${reply.value}}` : `${asked},"failure":"${reply.failure}"}`;
  });
  return `[${texts.join(",")}]`;
}

/** The answers to messages that asked for one. */
export class Replies {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Keeps each unless there is one already, and rings for it. Resolves with how many were kept. Repeating it changes nothing. */
  async keep(replies: readonly Reply[]): Promise<number> {
    const rows = await this.#pool.query<{ kept: number }>("answering", answerStatement, [repliesJson(replies)]);
    return rows[0]?.kept ?? 0;
  }

  /** What there is of the answers to these questions. Nothing is taken away, so a read whose answer was lost is repeated. */
  async read(inbox: string, correlations: readonly string[]): Promise<readonly KeptReply[]> {
    const parameters = [inbox, textArrayLiteral(correlations), readReplies];
    return await this.#pool.query<KeptReply & Record<string, unknown>>("reading answers", readStatement, parameters);
  }
}
