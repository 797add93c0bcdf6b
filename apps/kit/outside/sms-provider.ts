import { providerDeadlineMs, RefusedByProvider, type Send, type Sms } from "./provider.ts";

/** An account at a provider that speaks Twilio's API for messages. */
export interface SmsAccount {
  /** `https://api.twilio.com`, or whoever offers the same API. */
  readonly baseUrl: string;
  readonly accountSid: string;
  readonly authToken: string;
  /** The sender's number. */
  readonly from: string;
}

// Busy or too fast: later it may work. Wrong credentials or account: that is our configuration and not this message,
// which must therefore survive in the dead letters instead of counting as refused.
const worthRetrying = new Set([401, 403, 404, 408, 425, 429]);

/**
 * Sends over HTTP in the shape of Twilio's `Messages` resource.
 *
 * The idempotency key goes along as a header; a provider that ignores it cannot recognise a repeated request.
 */
export function twilioSms(account: SmsAccount): Send<Sms> {
  const address = new URL(
    `/2010-04-01/Accounts/${encodeURIComponent(account.accountSid)}/Messages.json`,
    account.baseUrl,
  );
  const authorization = `Basic ${btoa(`${account.accountSid}:${account.authToken}`)}`;
  return async (sms, signal) => {
    const response = await fetch(address, {
      method: "POST",
      headers: { authorization, "idempotency-key": sms.idempotencyKey },
      body: new URLSearchParams({ To: sms.to, From: account.from, Body: sms.text }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(providerDeadlineMs)]),
    });
    const answer = await response.text();
    if (response.status >= 400 && response.status < 500 && !worthRetrying.has(response.status)) {
      throw new RefusedByProvider(`SMS provider ${response.status}`);
    }
    const reference = response.ok ? referenceIn(answer) : undefined;
    if (reference === undefined) throw new Error(`the SMS provider answered ${response.status} without a reference`);
    return reference;
  };
}

function referenceIn(answer: string): string | undefined {
  try {
    const { sid } = JSON.parse(answer) as { sid?: unknown };
    return typeof sid === "string" ? sid : undefined;
  } catch (error) {
    throw new Error("the SMS provider's answer is not JSON", { cause: error });
  }
}
