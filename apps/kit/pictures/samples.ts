import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { folderOf } from "./faces.ts";

/** A photo to upload. */
export interface SamplePhoto {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The six photos that face-api ships, with 22 faces. */
export function samplePhotos(): readonly SamplePhoto[] {
  return [1, 2, 3, 4, 5, 6].map((number) => {
    const name = `sample${number}.jpg`;
    return { name, bytes: readFileSync(join(folderOf("@vladmandic/face-api"), "demo", name)) };
  });
}

/** Six people of two of these photos: which one, and where the face is, as shares of the photo's width. */
const heads = [
  { sample: 3, x: 0.304, y: 0.17, size: 0.104 },
  { sample: 3, x: 0.788, y: 0.15, size: 0.09 },
  { sample: 6, x: 0.354, y: 0.167, size: 0.085 },
  { sample: 6, x: 0.613, y: 0.158, size: 0.098 },
  { sample: 6, x: 0.773, y: 0.136, size: 0.11 },
  { sample: 6, x: 0.129, y: 0.243, size: 0.11 },
] as const;

/** How many people {@link portrait} knows. */
export const portraits = heads.length;

/** What may be done to a portrait. */
export type Change = "as it is" | "mirrored" | "darker" | "smaller" | "closer";

/** One person alone, cut out of a sample photo; changed, it is another file and still the same person. */
export async function portrait(person: number, change: Change = "as it is"): Promise<SamplePhoto> {
  const head = heads[person % heads.length] ?? heads[0];
  const photo = samplePhotos()[head.sample - 1];
  if (photo === undefined) throw new Error(`face-api ships no sample ${head.sample}`);
  const { width } = await sharp(photo.bytes).metadata();
  const margin = head.size * (change === "closer" ? 0.5 : 0.8);
  const pixels = (share: number) => Math.max(0, Math.round(share * width));
  const [left, top] = [pixels(head.x - margin), pixels(head.y - margin)];
  let picture = sharp(photo.bytes).extract({
    left,
    top,
    width: pixels(head.x + head.size + margin) - left,
    height: pixels(head.y + head.size * 1.2 + margin) - top,
  });
  if (change === "mirrored") picture = picture.flop();
  if (change === "darker") picture = picture.modulate({ brightness: 0.6 });
  if (change === "smaller") picture = picture.resize({ width: 300 });
  const bytes = await picture.jpeg({ quality: 90 }).toBuffer();
  return { name: `person ${person + 1}, ${change}.jpg`, bytes };
}
