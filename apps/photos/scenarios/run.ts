import { type Claim, claim, type Database, type Switchable, until, Visitor } from "@sluice/app-kit";
import { type Change, portrait } from "@sluice/app-kit/pictures";
import type { HoursName } from "../hours.ts";
import type { Recognisers } from "../recognisers.ts";

/** What the scenarios work with: the running service. */
export interface ScenarioParts {
  readonly database: Database;
  readonly recognisers: Recognisers;
  readonly colours: Switchable;
  /** Of the service itself. */
  readonly url: () => string;
}

/** Of a photo: `at`: when its faces were known, in seconds; `people` by the index; `doubled`: a stage committed it more than once. */
export type Outcome = { recogniser: string | null; at: number; people: string[] | null; doubled: boolean };

/** One run of a scenario: a visitor with a session of their own, by which the run's photos are told from all others. */
export class Run {
  /** What uploads were answered with, and the photos that came of it. */
  readonly statuses: number[] = [];
  readonly photos: string[] = [];
  readonly #parts: ScenarioParts;
  readonly #visitor: Visitor;
  readonly #signal: AbortSignal;

  constructor(parts: ScenarioParts, signal: AbortSignal) {
    [this.#parts, this.#signal, this.#visitor] = [parts, signal, new Visitor(parts.url())];
  }

  /** Uploads portraits of the people from 0 to `count`, one after the other. */
  async upload(count: number, change: (person: number) => Change = () => "as it is"): Promise<void> {
    for (let person = 0; person < count; person++) {
      this.#signal.throwIfAborted();
      const { name, bytes } = await portrait(person, change(person));
      const body = new FormData();
      body.append("photo", new File([Uint8Array.from(bytes)], name));
      const headers = { accept: "application/json" };
      const response = await this.#visitor.ask("/photos", { method: "POST", headers, body });
      const { photos = [] } = (await response.json()) as { photos?: { photo: string }[] };
      this.statuses.push(response.status);
      this.photos.push(...photos.map(({ photo }) => photo));
    }
  }

  /** Sets how many recognisers run; waits until as many have partitions and nothing waits from before, or fails. */
  async recognisers(count: number, hours: HoursName = "idle"): Promise<void> {
    await this.#parts.recognisers.set(count, hours);
    const isSo = await this.waitFor(async () => {
      const [row] = await this.#parts.database.sql<{ owners: number; isReady: boolean }[]>`
        select count(distinct owner)::int as owners, bool_and(owner is not null and lag = 0) as "isReady"
        from sluice.lag where "group" = 'faces'`;
      return row?.owners === count && (count === 0 || row.isReady);
    });
    if (!isSo) throw new Error(`within 45 s, ${count} recognisers did not come and work off what was waiting`);
  }

  /** In the order of the uploads. */
  async outcomes(): Promise<readonly Outcome[]> {
    return await this.#parts.database.sql<Outcome[]>`
      select p.recogniser, to_json(e.people) as people,
        p.recognised > 1 or p.clustered > 1 or coalesce(e.times > 1, false) as doubled,
        extract(epoch from coalesce(p.recognised_at, clock_timestamp()))::float8 as at
      from photos.photo p left join photos.entry e using (photo)
      where p.photo = any(${this.photos}) order by p.uploaded_at`;
  }

  waitFor(holds: () => Promise<boolean> | boolean): Promise<boolean> {
    return until(holds, 45_000, this.#signal);
  }

  /** Waits until all that was uploaded is in the index. */
  async settled(): Promise<readonly Outcome[]> {
    await this.waitFor(async () => (await this.outcomes()).every(({ people }) => people !== null));
    return this.outcomes();
  }

  /** The claims that end a run, which may have a name: whatever was in its way, nobody was turned away, and every photo is there once. */
  lastClaims(outcomes: readonly Outcome[], name = ""): readonly Claim[] {
    const failed = this.statuses.filter((status) => status !== 201).length;
    const indexed = outcomes.filter(({ people }) => people !== null).length;
    const doubled = outcomes.filter((one) => one.doubled).length;
    const [measured, goal] = [`${indexed}, ${doubled} twice`, `${this.statuses.length}, 0 twice`];
    return [
      claim(`${name}no upload failed`, failed, 0, failed === 0),
      claim(`${name}every photo went through every stage exactly once`, measured, goal, measured === goal),
    ];
  }
}
