import { isSluiceError, type Logger, SluiceError } from "@sluice/kernel";
import { checkSchema, findRoute, migrate, Pool, type Route } from "@sluice/store";

/** Looks how the database is reached, and says what a pooler changes, if it changes anything. Fails as `findRoute` does. */
export async function openRoute(
  url: string,
  given: string | undefined,
  applicationName: string,
  logger: Logger,
): Promise<Route> {
  const sessionUrl = given ?? (process.env["SLUICE_SESSION_URL"] || undefined);
  const route = await findRoute({ url, sessionUrl, applicationName });
  if (route.isPooled && route.sessionUrl === undefined) {
    logger.log(
      "warn",
      "the database is behind a pooler that gives each transaction another backend: members live by their lease, a dead one's partitions move when that has run out, messages are found by polling, and no statement stays prepared. For session locks and wake-ups, set sessionUrl or SLUICE_SESSION_URL to a URL past the pooler",
    );
  }
  return route;
}

/**
 * Brings the schema up to date, over a session; or checks that it is, where it is not to be changed or there is no session. Fails as
 * `migrate` and `checkSchema` do.
 */
export async function prepareSchema(route: Route, pool: Pool, isToMigrate: boolean): Promise<void> {
  if (!isToMigrate) {
    await checkSchema(pool.sql);
  } else if (!route.isPooled) {
    await migrate(pool.sql);
  } else if (route.sessionUrl !== undefined) {
    const session = new Pool(route.sessionUrl, { connections: 1, applicationName: "sluice migrations" });
    try {
      await migrate(session.sql);
    } finally {
      await session.close();
    }
  } else {
    await checkPooled(pool);
  }
}

async function checkPooled(pool: Pool): Promise<void> {
  try {
    await checkSchema(pool.sql);
  } catch (error) {
    if (!isSluiceError(error, "SCHEMA_OLDER")) throw error;
    throw new SluiceError(
      "SCHEMA_OLDER",
      `${error.message} They cannot be applied through a pooler that gives each transaction another backend: nothing was written. Set sessionUrl or SLUICE_SESSION_URL to a URL past the pooler, or connect once without it.`,
      { cause: error },
    );
  }
}
