/**
 * A provider said no to this one message, and would say so again: a bad number, an address that does not exist.
 * Everything else that goes wrong is thrown as it is and tried again.
 */
export class RefusedByProvider extends Error {
  override readonly name = "RefusedByProvider";
}

/** A mail in plain text. */
export interface Mail {
  readonly toName: string;
  readonly toAddress: string;
  readonly subject: string;
  readonly text: string;
  /** The same for every attempt: it becomes the Message-ID, by which mail servers recognise a duplicate. */
  readonly idempotencyKey: string;
}

/** A text message. */
export interface Sms {
  /** In international form: `+4915112345678`. */
  readonly to: string;
  readonly text: string;
  /** The same for every attempt. */
  readonly idempotencyKey: string;
}

/**
 * Sends one message and resolves with the provider's reference once the provider has taken responsibility for it.
 *
 * Fails with {@link RefusedByProvider} when trying again cannot help, with any other error when it can. Ends within
 * {@link providerDeadlineMs}, or as soon as `signal` is aborted.
 */
export type Send<Message> = (message: Message, signal: AbortSignal) => Promise<string>;

/** What became of a message: sent, with the provider's reference, or refused, with its reason. */
export interface Outcome {
  readonly state: "sent" | "refused";
  /** At most 500 characters. */
  readonly detail: string;
}

/**
 * Sends, and takes a refusal for an answer: trying again would get it again. Every other failure is passed on, to be tried
 * again.
 */
export async function settle(send: () => Promise<string>): Promise<Outcome> {
  try {
    return { state: "sent", detail: (await send()).slice(0, 500) };
  } catch (error) {
    if (error instanceof RefusedByProvider) return { state: "refused", detail: error.message.slice(0, 500) };
    throw error;
  }
}

/** How long a provider may take for one message before the attempt counts as failed. */
export const providerDeadlineMs = 10_000;
