import { runMain } from "@sluice/app-kit";
import { photosEnvironment } from "./environment.ts";
import { startPhotos } from "./service.ts";

await runMain({
  name: "photos",
  help: `Photos, the faces on them, and who they are: a pipeline of four stages, each at its own pace.

environment: RECOGNISERS (how many processes recognise faces here; 1) TIME_ZONE (of the hours; the system's)
             FACE_THRESHOLD (0.6)`,
  environment: photosEnvironment,
  start: startPhotos,
});
