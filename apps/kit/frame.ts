import type { Hono } from "hono";
import type { Logger } from "sluice";
import { type Database, openDatabase } from "./database.ts";
import { type Link, layout, type Page } from "./page/layout.ts";
import { LivePicture } from "./picture/live-picture.ts";
import type { Scenario } from "./scenarios/scenario.ts";
import { Scenarios } from "./scenarios/scenarios.ts";
import { webFrame } from "./web/frame.ts";
import { listen, type WebServer } from "./web/listen.ts";

/** What an app's frame is opened with. */
export interface FrameOptions {
  /** The app's name: of its connections, its results, its folder. */
  readonly name: string;
  readonly databaseUrl: string;
  /** Its own tables: a file of statements that may be repeated. Default: it has none. */
  readonly schema?: URL;
  /** The topics of its live picture, in their order; default every topic in the database. */
  readonly topics?: readonly string[];
  /** Whether every other topic follows these; default false. */
  readonly otherTopics?: boolean;
  /** Beside the sign of Sluice on its pages. */
  readonly brand: string;
  readonly links: readonly Link[];
  /** The largest request body; default 16 KiB. */
  readonly maxBodyBytes?: number;
  readonly logger: Logger;
}

/** What {@link Frame.listen} serves with. */
export interface ServeOptions {
  readonly host?: string | undefined;
  readonly port: number | undefined;
  readonly scenarios: readonly Scenario[];
  /** Why none of them may be started here. Default: they may. */
  readonly refusal?: string | undefined;
  /**
   * Sees each request before the routes and all that is checked for them; what it answers is sent as it is. For what comes by the thousand
   * and is answered from memory. Default: nothing.
   */
  readonly first?: (request: Request) => Response | undefined;
}

/** What listens. */
export interface Listening {
  readonly url: string;
  readonly scenarios: Scenarios;
  /** Ends scenarios and streams, answers what was asked, and stops listening. */
  close(): Promise<void>;
}

/** What an app stands on: its database, its web side and its picture. Opened first, closed last. */
export interface Frame {
  readonly database: Database;
  /** Add your routes before {@link listen}. `/health`, `/picture`, `/scenarios` and `/kit/…` are there. */
  readonly web: Hono;
  readonly page: Page;
  readonly picture: LivePicture;
  listen(options: ServeOptions): Listening;
  close(): Promise<void>;
}

/**
 * Opens the database, brings its tables up to date, and prepares the web side.
 *
 * Fails as `connect` of Sluice does; nothing stays open then.
 */
export async function openFrame(options: FrameOptions): Promise<Frame> {
  const { name, logger } = options;
  const database = await openDatabase({
    url: options.databaseUrl,
    name,
    logger,
    ...(options.schema === undefined ? {} : { schema: options.schema }),
  });
  const limit = options.maxBodyBytes === undefined ? {} : { maxBodyBytes: options.maxBodyBytes };
  const web = webFrame({ logger, ...limit, checkHealth: () => database.sql`select 1` });
  const { topics = [], otherTopics: others = options.topics === undefined } = options;
  const picture = new LivePicture({ database, logger, topics: { topics, others } });
  web.get("/picture", (c) => picture.stream(c));
  return {
    database,
    web,
    page: layout(options),
    picture,
    listen({ host, port, scenarios: list, refusal, first }) {
      const scenarios = new Scenarios({ app: name, database, logger, list, refusal });
      web.route("/scenarios", scenarios.routes());
      const server: WebServer = listen(
        { host: host ?? "127.0.0.1", port },
        (request) => first?.(request) ?? web.fetch(request),
      );
      return {
        url: server.url,
        scenarios,
        async close() {
          await scenarios.close();
          await picture.close();
          await server.close();
        },
      };
    },
    close: () => database.close(),
  };
}
