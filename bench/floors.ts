import type postgres from "postgres";
import { type Measurement, measureCalls } from "./measure.ts";
import { type Payload, payloads } from "./payload.ts";

/** Rows that make as much WAL as lies between two checkpoints by default. */
const warmUpRows = 2_000_000;

/** The plain statements that Sluice is measured against, over the same driver, with the same payload. */
export class Floors {
  readonly #sql: postgres.Sql;

  constructor(sql: postgres.Sql) {
    this.#sql = sql;
  }

  /** A row per message, each awaited, each its own commit. */
  async insert(callers: number, count: number): Promise<Measurement> {
    const values = payloads(count);
    return await measureCalls(callers, count, 1, async (index) => {
      await this.#sql`insert into floor_row (value) values (${this.#json(values[index])})`;
    });
  }

  /** COPY of 1,000 rows a statement, each its own commit, by four callers. */
  async copy(count: number): Promise<Measurement> {
    const batches = Array.from({ length: count / 1_000 }, () => payloads(1_000));
    return await measureCalls(4, batches.length, 1_000, async (index) => {
      const stream = await this.#sql`copy floor_row (value) from stdin`.writable();
      const text = (batches[index] ?? []).map((value) => `${JSON.stringify(value)}\n`).join("");
      await new Promise<void>((resolve, reject) => {
        stream.on("error", reject);
        stream.on("finish", resolve);
        stream.end(text);
      });
    });
  }

  /** Every row by a cursor of 1,000, values parsed. */
  async select(count: number): Promise<Measurement> {
    let seen = 0;
    const began = performance.now();
    for await (const rows of this.#sql<
      { id: string; value: Payload }[]
    >`select id, value from floor_row order by id limit ${count}`.cursor(1_000)) {
      for (const row of rows) if (row.value.id !== "") seen += 1;
    }
    return { rate: seen / ((performance.now() - began) / 1_000) };
  }

  /**
   * Makes the server one that has been in use: a new one writes each of its first WAL files twice, full of zeros and then
   * with what happened, which halves what both sides do and says nothing about either.
   */
  async warmUp(): Promise<void> {
    await this.copy(warmUpRows);
    await this.truncate();
    await this.#sql`checkpoint`;
  }

  async truncate(): Promise<void> {
    await this.#sql`truncate floor_row restart identity`;
  }

  #json(value: Payload | undefined): postgres.Parameter {
    return this.#sql.json(value as unknown as postgres.JSONValue) as postgres.Parameter;
  }
}
