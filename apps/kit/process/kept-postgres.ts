import { errorLine } from "sluice";
import { type EmbeddedOptions, type EmbeddedServer, startEmbedded } from "sluice/embedded";
import { pause } from "../report/at-rate.ts";

const pauseMs = 3_000;

/**
 * Starts the embedded Postgres, or joins it, and starts it again when it ends by itself: at the same address, so that all who
 * were connected find it there, with everything that was committed.
 *
 * Fails as `startEmbedded` does, the first time; later failures are told to `onLog`, and it is tried again.
 */
export async function keepPostgres(
  options: Pick<EmbeddedOptions, "dataDirectory" | "settings"> & { readonly onLog: (line: string) => void },
): Promise<Pick<EmbeddedServer, "url" | "dataDirectory" | "stop">> {
  const stopping = new AbortController();
  let port: number | undefined;
  let starting: Promise<EmbeddedServer | undefined>;
  const start = () => startEmbedded({ ...options, ...(port === undefined ? {} : { port }), onEnd });
  const startAgain = async () => {
    while (!stopping.signal.aborted) {
      try {
        const server = await start();
        options.onLog("Postgres runs again");
        return server;
      } catch (error) {
        options.onLog(errorLine(error));
        await pause(pauseMs, stopping.signal).catch(() => undefined); // Its end is seen above.
      }
    }
    return undefined;
  };
  function onEnd() {
    starting = startAgain();
  }
  const first = await start();
  starting = Promise.resolve(first);
  port = Number(new URL(first.url).port);
  return {
    url: first.url,
    dataDirectory: first.dataDirectory,
    async stop() {
      stopping.abort();
      await (await starting)?.stop();
    },
  };
}
