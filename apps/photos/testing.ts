import { type Database, type MainContext, until, type Visitor } from "@sluice/app-kit";
import type { SamplePhoto } from "@sluice/app-kit/pictures";
import { startOnTestDatabase } from "@sluice/app-kit/testing";
import { photosEnvironment } from "./environment.ts";
import { type PhotosService, startPhotos } from "./service.ts";

/** The service on a database of its own; for `await using`. */
export interface TestService extends PhotosService {
  readonly database: Database;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts it; without recognisers, unless they are asked for. */
export async function startTestService(
  variables: Readonly<Record<string, string>> = {},
  context: Partial<MainContext<unknown>> = {},
): Promise<TestService> {
  const environment = photosEnvironment.parse({ RECOGNISERS: "0", TIME_ZONE: "UTC", ...variables });
  const service = await startOnTestDatabase(startPhotos, environment, { ...context, environment });
  return { ...service, database: service.frame.database };
}

/** Uploads one photo, as the page's script does. */
export async function uploadTo(visitor: Visitor, { name, bytes }: SamplePhoto) {
  const body = new FormData();
  body.append("photo", new File([Uint8Array.from(bytes)], name));
  const response = await visitor.ask("/photos", { method: "POST", headers: { accept: "application/json" }, body });
  const answer = (await response.json()) as { photos?: { photo?: string; text: string }[]; error?: string };
  const [result] = answer.photos ?? [];
  return { status: response.status, photo: result?.photo, text: result?.text ?? answer.error };
}

/** Waits up to half a minute: recognition takes its time on a machine that is busy. */
export async function within30s(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  if (!(await until(holds, 30_000))) throw new Error(`not within 30 s: ${what}`);
}
