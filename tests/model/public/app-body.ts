import postgres from "postgres";
import { app, type RunningApp, silentLogger } from "sluice";
import type { Listener, MemberBody, MemberOptions } from "./member-body.ts";
import { consumersOf, type Report, topicsOf } from "./workload.ts";

/** Times that let a run be over soon. */
const quick = { lease: "3s", heartbeat: "500ms", poll: "50ms", drain: "2s" } as const;

/** An app in this process. Abandoned, it goes on without a connection, and is closed. */
export class AppBody implements MemberBody {
  readonly #starting: Promise<RunningApp>;
  readonly #outside: postgres.Sql;
  readonly started: Promise<void>;
  readonly ended: Promise<void>;
  readonly #onEnded: () => void;
  #closing: Promise<void> | undefined;
  #endsAt: { readonly phase: Report["phase"]; skip: number } | undefined;

  constructor({ name, url, run, hasLate, defect }: MemberOptions, directUrl: string, listener: Listener) {
    // Connects when it is used: by a planted defect.
    this.#outside = postgres(directUrl, { max: 1, onnotice: () => undefined });
    const topics = topicsOf(run);
    const consumers = consumersOf({
      run,
      topics,
      hasLate,
      defect,
      report: (report) => {
        listener.onReport(report);
        if (this.#endsAt?.phase === report.phase && this.#endsAt.skip-- <= 0) listener.onEndReached();
      },
      writeOutside: async (statement) => {
        await this.#outside.unsafe(statement);
      },
    });
    this.#starting = app({ name, topics: [topics.onward], consumers, ...quick }).start({
      url,
      migrate: false,
      connections: 3,
      deliveryTimeout: "2s",
      logger: silentLogger,
    });
    this.started = this.#starting.then(() => undefined);
    const { promise, resolve } = Promise.withResolvers<void>();
    [this.ended, this.#onEnded] = [promise, resolve];
  }

  close(): Promise<void> {
    this.#closing ??= this.#starting
      .then((running) => running.close())
      // One that could not even start has nothing to close.
      .catch(() => undefined)
      .then(() => this.#outside.end())
      .then(this.#onEnded);
    return this.#closing;
  }

  abandon(): void {
    this.started.catch(() => undefined);
    void this.close();
  }

  endAt(phase: Report["phase"], skip: number): void {
    this.#endsAt = { phase, skip };
  }
}
