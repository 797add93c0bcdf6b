/** Somebody who signs up in a comparison. */
export interface Person {
  readonly name: string;
  readonly email: string;
  readonly phone: string;
}

/** Makes people whom no other run has made: the run's name is in every address. */
export class Crowd {
  readonly run: string;
  readonly #people: Person[] = [];
  readonly #seconds = Math.floor(Date.now() / 1_000) % 100_000_000;

  constructor(run: string) {
    this.run = run;
  }

  /** Everybody made so far. */
  get people(): readonly Person[] {
    return this.#people;
  }

  /** Somebody new. The country code 999 is assigned to nobody. */
  next(): Person {
    const number = this.#people.length + 1;
    const phone = `+999${String(this.#seconds).padStart(8, "0")}${String(number).padStart(4, "0")}`;
    const person = { name: `User ${number}`, email: `user-${number}@${this.run}.example`, phone };
    this.#people.push(person);
    return person;
  }
}

/**
 * Posts one person after the other at a fixed rate, whether or not the answers keep up: a slow answer must not thin out
 * the load that it is measured under.
 *
 * Fails when any answer is not 201.
 *
 * @returns the response times in milliseconds, each from the request to the whole answer
 */
export async function postAtRate(address: string, people: readonly Person[], perSecond: number): Promise<number[]> {
  const startedAt = performance.now();
  return Promise.all(
    people.map(async (person, index) => {
      await Bun.sleep(Math.max(0, startedAt + (index * 1_000) / perSecond - performance.now()));
      const sentAt = performance.now();
      const response = await fetch(address, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(person),
      });
      const body = await response.text();
      if (response.status !== 201)
        throw new Error(`POST ${new URL(address).pathname} answered ${response.status}: ${body}`);
      return performance.now() - sentAt;
    }),
  );
}

/** The value below or at which `share` (0 to 1) of all values lie; nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
