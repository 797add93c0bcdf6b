import { type App, type ConnectOptions, type RunningApp, SluiceError } from "sluice";

/** Drains an app's consumers. Fails with DRAIN_TIMEOUT, after all is closed, when a handler did not finish in time. */
export async function drain(running: RunningApp): Promise<void> {
  if (!(await running.close())) throw new SluiceError("DRAIN_TIMEOUT", "handlers did not finish; they will run again");
}

/** Consumers that may come and go while everything else runs. */
export interface Switchable {
  /** Joins; nothing when it has joined already. */
  start(): Promise<void>;
  /** Drains and leaves; nothing when it has left already. */
  stop(): Promise<void>;
}

/** Makes a declared app one that can be switched on and off, with connections of its own. It begins switched off. */
export function switchable(app: App, options: Omit<ConnectOptions, "topics">): Switchable {
  let running: Promise<RunningApp> | undefined;
  return {
    async start() {
      running ??= app.start(options);
      await running;
    },
    async stop() {
      const was = running;
      running = undefined;
      if (was !== undefined) await drain(await was);
    },
  };
}
