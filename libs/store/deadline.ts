import { SluiceError } from "@sluice/kernel";

/**
 * The outcome of `work`, or DATABASE_TIMEOUT after `deadlineMs`. What happens to the work afterwards is unknown: it may
 * still take effect. (Nothing is cancelled: a cancelled commit that waits for a standby would answer success.)
 *
 * @param what names the call in the error: `"reading topic signups"`
 */
export function withDeadline<T>(work: PromiseLike<T>, deadlineMs: number, what: string): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(
      () =>
        reject(
          new SluiceError(
            "DATABASE_TIMEOUT",
            `${what}: the database did not answer within ${deadlineMs} ms; whether it took effect is unknown`,
          ),
        ),
      deadlineMs,
    );
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
