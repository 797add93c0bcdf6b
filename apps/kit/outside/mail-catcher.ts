import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import { Inbox } from "./inbox.ts";

/** A mail as it came over the wire. */
export interface CaughtMail {
  readonly recipient: string;
  readonly receivedAt: Date;
  /** Headers and body, unparsed. */
  readonly raw: Uint8Array;
}

/** A real SMTP server on this machine that keeps every mail instead of passing it on. */
export interface MailCatcher {
  readonly url: string;
  readonly inbox: Inbox<CaughtMail>;
  close(): Promise<void>;
}

export interface MailCatcherOptions {
  /** How long the server takes before it accepts a mail, as one out on the internet would. */
  readonly stepMs: number;
  /** Default: any free port. */
  readonly port?: number;
}

/**
 * Listens on loopback, without TLS and without a password; mails over 256 KiB are refused.
 *
 * Fails with the system's error when the port is taken.
 */
export async function startMailCatcher(options: MailCatcherOptions): Promise<MailCatcher> {
  const inbox = new Inbox<CaughtMail>();
  const smtp = new SMTPServer({
    disabledCommands: ["AUTH", "STARTTLS"],
    disableReverseLookup: true,
    size: 256 * 1024,
    rejectOversized: true,
    // A pooled client sends many mails over one connection.
    maxAllowedUnauthenticatedCommands: false,
    closeTimeout: 1_000,
    onData(stream, session, callback) {
      const chunks: Uint8Array[] = [];
      stream.on("data", (chunk: Uint8Array) => {
        if (!stream.sizeExceeded) chunks.push(chunk);
      });
      stream.on("end", () => {
        setTimeout(() => {
          const raw = Buffer.concat(chunks);
          for (const { address } of stream.sizeExceeded ? [] : session.envelope.rcptTo) {
            inbox.add({ recipient: address, receivedAt: new Date(), raw });
          }
          callback();
        }, options.stepMs);
      });
    },
  });
  // Afterwards the server reports errors of single connections here, which the client at the other end sees too.
  const listening = Promise.withResolvers<void>();
  smtp.on("error", (error) => listening.reject(error));
  smtp.listen(options.port ?? 0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  const { port } = smtp.server.address() as AddressInfo;
  return {
    url: `smtp://127.0.0.1:${port}`,
    inbox,
    close: () => new Promise((resolve) => smtp.close(resolve)),
  };
}
