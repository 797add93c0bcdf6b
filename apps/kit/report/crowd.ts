/** Somebody who does not exist. */
export interface Person {
  readonly name: string;
  readonly email: string;
  /** With the country code 999, which is assigned to nobody. */
  readonly phone: string;
}

/**
 * People whom no other run has made: the run's name is in every address, so that what becomes of them can be told from what
 * other runs on the same data have left.
 */
export class Crowd {
  readonly run = `run-${crypto.randomUUID().slice(0, 8)}`;
  /** Everybody so far. */
  readonly people: Person[] = [];
  readonly #seconds = String(Math.floor(Date.now() / 1_000) % 100_000_000).padStart(8, "0");

  /** So many more; 9,999 in all. */
  next(count: number): Person[] {
    const before = this.people.length;
    for (let index = before + 1; index <= before + count; index++) {
      const number = String(index).padStart(4, "0");
      const email = `user-${number}@${this.run}.example`;
      this.people.push({ name: `User ${number}`, email, phone: `+999${this.#seconds}${number}` });
    }
    return this.people.slice(before);
  }
}
