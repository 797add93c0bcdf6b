import { type FaultyProxy, startProxy } from "@sluice/testkit";
import { AppBody } from "./app-body.ts";
import { type CrashPoint, type CrashPointName, crashPoints } from "./crash-points.ts";
import type { Listener, MemberBody, MemberOptions } from "./member-body.ts";
import { ProcessBody } from "./process-body.ts";
import type { Report } from "./workload.ts";

/**
 * A running app of one run's groups, that reaches the server through a proxy of its own, so that it can end at any statement. From the
 * moment of its crash nothing of it reaches the server and nothing that it reports is heard.
 */
export class Member {
  readonly name: string;
  readonly hasLate: boolean;
  readonly #proxy: FaultyProxy;
  readonly #body: MemberBody;
  #isAlive = true;
  /** Resolves with the crash. */
  readonly crashed: Promise<void>;
  readonly #onCrashed: () => void;

  private constructor(options: MemberOptions, proxy: FaultyProxy, onReport: (report: Report) => void) {
    this.name = options.name;
    this.hasLate = options.hasLate;
    this.#proxy = proxy;
    const { promise, resolve } = Promise.withResolvers<void>();
    [this.crashed, this.#onCrashed] = [promise, resolve];
    const listener: Listener = {
      onReport: (report) => {
        // What a process said it did before it was killed; what is left of an app goes on, and that counts for nothing.
        if (this.#isAlive || options.kind === "process") onReport(report);
      },
      onEndReached: () => this.crash(),
    };
    const Kind = options.kind === "app" ? AppBody : ProcessBody;
    this.#body = new Kind({ ...options, url: proxy.url }, options.url, listener);
  }

  /** @param crash where it ends already while it starts, if it comes there */
  static async start(
    options: MemberOptions,
    onReport: (report: Report) => void,
    crash?: { readonly at: CrashPointName; readonly skip: number },
  ): Promise<Member> {
    const member = new Member(options, await startProxy(options.url), onReport);
    if (crash !== undefined) member.crashAt(crash.at, crash.skip);
    await Promise.race([member.#body.started, member.crashed]);
    return member;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** It crashes when it comes to that point for more than the `skip`th time from now on, whenever that is. */
  crashAt(name: CrashPointName, skip: number): void {
    const { phase, statement, isUnanswered }: CrashPoint = crashPoints[name];
    let left = skip;
    if (phase !== undefined) {
      this.#body.endAt(phase, skip);
    } else if (statement === undefined) {
      this.crash();
    } else {
      const match = (said: string) => statement.test(said) && left-- <= 0;
      const met = isUnanswered === true ? this.#proxy.swallowAnswer(match) : this.#proxy.hold(match);
      void met.then(() => this.crash());
    }
  }

  /** Ends it at once: no answer reaches it any more, and nothing of it the server. */
  crash(): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.#body.abandon();
    this.#proxy.refuse = true;
    this.#proxy.cutAll();
    this.#onCrashed();
  }

  /** All its connections end at once; it lives, and may open others. */
  cut(): void {
    this.#proxy.cutAll();
  }

  /** Stops in good order. */
  async close(): Promise<void> {
    await Promise.race([this.#body.close(), this.crashed]);
    this.#isAlive = false;
  }

  /** Resolves when nothing of it is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.crash();
    await this.#body.ended;
    await this.#proxy[Symbol.asyncDispose]();
  }
}
