import { setTimeout as wait } from "node:timers/promises";
import type { FaultyProxy, Random } from "@sluice/testkit";
import { isAppend, isCommit } from "@sluice/testkit";
import postgres from "postgres";
import type { Crew } from "./processes.ts";
import type { ChaosServer } from "./server.ts";

/** What faults are done to. */
export interface Stand {
  readonly server: ChaosServer;
  /** Producers' network, and consumers'. */
  readonly networks: readonly FaultyProxy[];
  readonly producers: Crew;
  readonly consumers: Crew;
  readonly random: Random;
}

/** Does one fault, and resolves once it is over. */
type Fault = (stand: Stand) => Promise<void>;

/** A process that is frozen for longer than its lease has lost what it had. */
const beyondLeaseMs = 3_200;

const isPositions = (statement: string) => statement.includes("sluice.commit_positions");

const network = ({ networks, random }: Stand) => networks[random(networks.length)];

/** The process at place 0 is never ended: it shows whether memory stays flat. */
const mortal = ({ size }: Crew, random: Random) => (size === 1 ? 0 : 1 + random(size - 1));

async function asAdministrator<T>({ server }: Stand, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(server.url, { max: 1, onnotice: () => undefined, connection: { application_name: "chaos" } });
  try {
    return await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function terminate(stand: Stand, condition: string): Promise<void> {
  await asAdministrator(stand, (sql) =>
    sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name ~ '^(producer|consumer)' and ${condition}`),
  );
}

/** A fault of the network for a while. A statement that is waited for may not come: then nothing is injected. */
function swallow(match: (statement: string) => boolean): Fault {
  return async (stand) => {
    await Promise.race([network(stand)?.swallowAnswer(match), wait(1_500)]);
  };
}

async function delay(one: FaultyProxy, delayMs: number): Promise<void> {
  one.delayMs = delayMs;
  await wait(2_000);
  one.delayMs = 0;
}

/** The faults by their names, which are those of the report. */
export const faults: Readonly<Record<string, Fault>> = {
  "kill a consumer": ({ consumers, random }) => consumers.kill(mortal(consumers, random)),
  "kill a producer": ({ producers, random }) => producers.kill(mortal(producers, random)),
  "freeze a consumer": ({ consumers, random }) => consumers.freeze(mortal(consumers, random), beyondLeaseMs),
  "freeze a producer": ({ producers, random }) => producers.freeze(mortal(producers, random), 1_500),
  "shift a clock": ({ consumers, random }) =>
    consumers.kill(mortal(consumers, random), (random(2) === 0 ? -1 : 1) * (1 + random(86_400_000))),
  "terminate backends": (stand) => terminate(stand, "random() < 0.5"),
  "terminate a session": (stand) =>
    terminate(
      stand,
      `pid in (select pid from pg_locks where locktype = 'advisory' and classid in (1936487684, 1936487685, 1936487686))
        and (hashtext(application_name) & 3) = ${stand.random(4)}`,
    ),
  "cut all connections": async (stand) => network(stand)?.cutAll(),
  "cut in a message": async (stand) => network(stand)?.cutAfterBytes(1 + stand.random(20_000)),
  "black hole": async (stand) => {
    const one = network(stand);
    one?.blackHole();
    await wait(1_500);
    one?.thaw();
    one?.cutAll();
  },
  "freeze the network": async (stand) => {
    const one = network(stand);
    one?.freeze();
    await wait(500 + stand.random(3_000));
    one?.thaw();
  },
  delay: async (stand) => {
    const one = network(stand);
    if (one !== undefined) await delay(one, 5 + stand.random(60));
  },
  slice: async (stand) => {
    const one = network(stand);
    if (one === undefined) return;
    one.sliceBytes = 1 + stand.random(40);
    await wait(1_000);
    one.sliceBytes = undefined;
  },
  "swallow a COMMIT": swallow(isCommit),
  "swallow an append": swallow(isAppend),
  "swallow positions": swallow(isPositions),
  "no NOTIFY": async (stand) => {
    for (const one of stand.networks) one.dropNotifications = true;
    await wait(3_000);
    for (const one of stand.networks) one.dropNotifications = false;
  },
  "restart Postgres": ({ server }) => server.restart(),
  "exhaust connections": async ({ server }) => {
    const clients = Array.from({ length: 150 }, () =>
      postgres(server.url, { max: 1, connect_timeout: 2, connection: { application_name: "chaos exhaustion" } }),
    );
    // Those that are refused have done their part.
    await Promise.all(clients.map((sql) => sql`select 1`.catch(() => undefined)));
    await wait(1_000);
    await Promise.all(clients.map((sql) => sql.end({ timeout: 1 })));
  },
  "deadlock storm": async ({ server, random }) => {
    const sql = postgres(server.url, { max: 8, connection: { application_name: "chaos storm" } });
    const until = performance.now() + 2_000;
    const lane = async () => {
      while (performance.now() < until) {
        const accounts = Array.from({ length: 4 }, () => random(32));
        const locking = sql.begin(async (tx) => {
          for (const account of accounts) {
            await tx`update chaos.account set balance = balance where account = ${account}`;
            await wait(5);
          }
        });
        // Being the victim of a deadlock is what this is for.
        await locking.catch(() => undefined);
      }
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    await sql.end({ timeout: 1 });
  },
  "idle listener": (stand) =>
    asAdministrator(stand, async (sql) => {
      await sql.unsafe("listen sluice; begin; select 1");
      await wait(3_000);
      await sql.unsafe("rollback");
    }),
  "disk full": ({ server }) => server.fillDisk(1_500),
};

/** Faults that would meet each other in a way that shows nothing: they are done one at a time. */
const alone = new Set(["restart Postgres", "exhaust connections", "disk full"]);

/** Faults that need more than this machine gives, and why. */
export function impossible({ server }: Stand): Readonly<Record<string, string>> {
  return server.whyNoSmallDisk === undefined ? {} : { "disk full": server.whyNoSmallDisk };
}

/**
 * Injects faults until the time is over, two lines of them at once: one for processes, one for network and database. Each kind
 * comes once before any comes again. Resolves once all are over.
 *
 * @param onFault told when one is begun
 */
export async function injectFaults(
  stand: Stand,
  options: { readonly untilMs: number; readonly kinds: readonly string[]; readonly pauseMs: number },
  onFault: (what: string) => void,
): Promise<void> {
  const isOfProcesses = (what: string) => /(consumer|producer|clock)$/.test(what);
  const line = async (kinds: readonly string[]) => {
    let rest: string[] = [];
    while (performance.now() < options.untilMs && kinds.length > 0) {
      if (rest.length === 0) rest = [...kinds];
      const [what] = rest.splice(stand.random(rest.length), 1);
      const fault = faults[what ?? ""];
      if (what === undefined || fault === undefined) continue;
      onFault(what);
      // The server may be down, or full, while the other line wants something from it.
      await fault(stand).catch((error: unknown) => {
        if (alone.has(what)) throw error;
      });
      await wait(stand.random(options.pauseMs));
    }
  };
  await Promise.all([
    line(options.kinds.filter(isOfProcesses)),
    line(options.kinds.filter((what) => !isOfProcesses(what))),
  ]);
}

/** Ends what faults may have left behind. */
export function heal({ networks }: Stand): void {
  for (const one of networks) {
    one.thaw();
    Object.assign(one, { delayMs: 0, sliceBytes: undefined, dropNotifications: false });
    // Also forgets a cut that waits for its byte.
    one.cutAll();
  }
}
