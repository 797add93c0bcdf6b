import { drain, type Frame, type MainContext, openFrame, type RunningApp, switchable } from "@sluice/app-kit";
import { app, type Sluice } from "sluice";
import type { z } from "zod";
import type { photosEnvironment } from "./environment.ts";
import { links, photoRoutes } from "./page/routes.ts";
import { type Recognisers, recognisersOf } from "./recognisers.ts";
import { photoScenarios } from "./scenarios/scenarios.ts";
import { albumsConsumer, clustersStage, coloursConsumer, indexConsumer, publishedThreshold } from "./stages.ts";
import { albumSchedule, albumTicks, clustered, facesFound, uploads } from "./topics.ts";

/** The running service. */
export interface PhotosService extends RunningApp {
  readonly frame: Frame;
  readonly sluice: Sluice;
  readonly recognisers: Recognisers;
}

/** Starts the web side, the stages that cost little, and the recognisers as processes of their own; closing goes the other way. */
export async function startPhotos(context: MainContext<z.infer<typeof photosEnvironment>>): Promise<PhotosService> {
  const { environment, databaseUrl: url, logger } = context;
  await using starting = new AsyncDisposableStack();
  const frame = await openFrame({
    ...context,
    name: "photos",
    schema: new URL("./schema.sql", import.meta.url),
    topics: [uploads, facesFound, clustered, albumTicks].map((topic) => topic.name),
    brand: "photos",
    links,
    // A photo of 12 MiB, or several smaller ones, and the form around them.
    maxBodyBytes: 16 * 1_024 * 1_024,
  });
  starting.defer(() => frame.close());
  const running = await app({
    name: "photos",
    topics: [uploads],
    stages: [clustersStage(environment.FACE_THRESHOLD ?? publishedThreshold)],
    consumers: [indexConsumer, albumsConsumer],
    schedules: [albumSchedule],
    drain: "10s",
  }).start({ url, logger });
  starting.defer(() => drain(running));
  const { sluice } = running;
  const late = app({ name: "colours", consumers: [coloursConsumer(frame.database)], drain: "10s" });
  const colours = switchable(late, { url, logger });
  starting.defer(() => colours.stop());
  if ((await sluice.groups.list()).some(({ group }) => group === "colours")) await colours.start();
  const recognisers = recognisersOf(url, environment.TIME_ZONE, logger);
  starting.defer(() => recognisers.processes.close());
  await recognisers.set(environment.RECOGNISERS ?? 1, context.isOnce ? "idle" : undefined);

  await photoRoutes({ frame, sluice, recognisers, refusal: context.refusal });
  const scenarios = photoScenarios({ database: frame.database, recognisers, colours, url: () => listening.url });
  const listening = frame.listen({ ...context, scenarios });
  starting.defer(() => listening.close());
  const parts = starting.move();
  const liveLine = () => frame.picture.line();
  return { ...listening, frame, sluice, recognisers, liveLine, close: () => parts.disposeAsync() };
}
