import { createTransport, type NodemailerError } from "nodemailer";
import { type Mail, providerDeadlineMs, RefusedByProvider, type Send } from "./provider.ts";

/** Sends mails over SMTP. */
export interface Mailer {
  readonly send: Send<Mail>;
  /** Ends the connections; what is being sent fails. */
  close(): void;
}

/**
 * A pool of at most 16 SMTP connections.
 *
 * @param url `smtp://user:password@host:port` or `smtps://…`
 * @param from the sender, e.g. `Sluice <hello@example.com>`
 */
export function smtpMailer(url: string, from: string): Mailer {
  const transport = createTransport(
    {
      url,
      pool: true,
      maxConnections: 16,
      // Retries belong to the consumer, where they are counted and can be seen.
      maxRequeues: 0,
      idleTimeout: 30_000,
      connectionTimeout: providerDeadlineMs,
      greetingTimeout: providerDeadlineMs,
      socketTimeout: providerDeadlineMs,
      disableFileAccess: true,
      disableUrlAccess: true,
    },
    { from },
  );
  const domain = /@([^\s>]+)/.exec(from)?.[1] ?? "localhost";
  return {
    async send(mail, signal) {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(providerDeadlineMs)]);
      try {
        const sent = await transport.sendMail({
          to: { name: mail.toName, address: mail.toAddress },
          subject: mail.subject,
          text: mail.text,
          messageId: `<${encodeURIComponent(mail.idempotencyKey)}@${domain}>`,
          signal: deadline,
        });
        return sent.messageId;
      } catch (error) {
        throw isRefusal(error) ? new RefusedByProvider(`SMTP ${error.responseCode}`, { cause: error }) : error;
      }
    },
    close: () => transport.close({ force: true }),
  };
}

function isRefusal(error: unknown): error is NodemailerError {
  if (!(error instanceof Error)) return false;
  const { permanent, code } = error as NodemailerError;
  // A wrong password is an SMTP 5xx too, but it is no fault of this mail.
  return permanent === true && (code === "EENVELOPE" || code === "EMESSAGE");
}
