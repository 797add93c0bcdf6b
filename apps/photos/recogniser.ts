// A process of its own: upload → faces. As many as there are cores for it, on any machine; each needs DATABASE_URL alone.
import { hostname } from "node:os";
import { runWorker } from "@sluice/app-kit";
import { loadFaceRecognition } from "@sluice/app-kit/pictures";
import { app } from "sluice";
import { recogniserEnvironment } from "./environment.ts";
import { facesStage, mostFaces } from "./stages.ts";

await runWorker({
  name: "recogniser",
  schema: new URL("./schema.sql", import.meta.url),
  environment: recogniserEnvironment,
  async app({ TIME_ZONE: timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone }, database) {
    const name = `${hostname().slice(0, 60)}:${process.pid}`;
    const stage = facesStage({ database, recognise: await loadFaceRecognition(mostFaces), timeZone, name });
    return app({ name: "recogniser", stages: [stage], transactionConnections: 2, drain: "10s" });
  },
});
