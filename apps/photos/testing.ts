import { type Database, type MainContext, until, type Visitor } from "@sluice/app-kit";
import { portrait, portraits, type SamplePhoto } from "@sluice/app-kit/pictures";
import { startOnTestDatabase } from "@sluice/app-kit/testing";
import sharp from "sharp";
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

/** A crowd: the faces of the sample photos, 36 side by side in 28 rows, on a JPEG of ten million pixels. */
export async function thousandFaces(): Promise<SamplePhoto> {
  const [side, across, rows] = [100, 36, 28];
  const heads = Array.from({ length: portraits }, async (_, person) => {
    const { bytes } = await portrait(person, "closer");
    return { input: await sharp(bytes).resize({ width: side, height: side }).toBuffer(), left: person * side, top: 0 };
  });
  const canvas = (width: number, height: number) =>
    sharp({ create: { width, height, channels: 3, background: "#888" } });
  const some = await canvas(portraits * side, side)
    .composite(await Promise.all(heads))
    .png()
    .toBuffer();
  const tiles = canvas(across * side, rows * side).composite([{ input: some, tile: true, gravity: "northwest" }]);
  return { name: "a thousand faces.jpg", bytes: await tiles.jpeg().toBuffer() };
}
