import { beforeAll, expect, test } from "bun:test";
import sharp from "sharp";
import { type Face, loadFaceRecognition, type Recognise } from "./faces.ts";
import { readPicture } from "./picture.ts";
import { type Change, portrait, portraits, samplePhotos } from "./samples.ts";

let recognise: Recognise;

beforeAll(async () => {
  recognise = await loadFaceRecognition(50);
}, 60_000);

/** What FaceMatcher of face-api takes for the same person. */
const threshold = 0.6;

const found = async (bytes: Uint8Array) => recognise((await readPicture(bytes)).view);
const distance = (one: Face, other: Face) =>
  Math.hypot(...one.descriptor.map((value, index) => value - (other.descriptor[index] ?? Number.NaN)));

test("[U4] the photos that face-api ships have the 22 faces that it says", async () => {
  const counts: number[] = [];
  for (const { bytes } of samplePhotos()) counts.push((await found(bytes)).faces.length);
  expect(counts).toEqual([3, 3, 3, 4, 5, 4]);
}, 60_000);

test("[U4] at the published threshold a changed face is the same person, and other people are not", async () => {
  const changes: readonly Change[] = ["mirrored", "darker", "smaller", "closer"];
  const faceOf = async (person: number, change?: Change) => {
    const { faces } = await found((await portrait(person, change)).bytes);
    const [face] = faces;
    if (face === undefined || faces.length !== 1) throw new Error(`${faces.length} faces on a portrait`);
    return face;
  };
  const people: Face[] = [];
  for (let person = 0; person < portraits; person++) people.push(await faceOf(person));
  for (const [index, one] of people.entries()) {
    for (const other of people.slice(index + 1)) expect(distance(one, other)).toBeGreaterThan(threshold);
  }
  for (let person = 0; person < portraits; person++) {
    const changed = await faceOf(person, changes[person % changes.length]);
    const near = people.flatMap((one, index) => (distance(one, changed) < threshold ? [index] : []));
    expect(near).toEqual([person]);
  }
}, 60_000);

test("a picture of nobody has no faces", async () => {
  const wall = await sharp({ create: { width: 64, height: 64, channels: 3, background: "#887766" } })
    .png()
    .toBuffer();
  expect(await found(wall)).toEqual({ faces: [], hasMore: false });
}, 60_000);
