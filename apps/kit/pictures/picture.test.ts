import { expect, test } from "bun:test";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { PictureRefusal, pictureLimits, readPicture } from "./picture.ts";
import { portrait } from "./samples.ts";

const refusalOf = async (bytes: Uint8Array) => {
  const error = await readPicture(bytes).catch((thrown: unknown) => thrown);
  if (!(error instanceof PictureRefusal)) throw new Error("it was taken");
  return `${error.status} ${error.message}`;
};

/** A PNG that says it is this large; its data are a few bytes. */
function bomb(width: number, height: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(Bun.hash.crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([1, 0, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const data = deflateSync(Buffer.alloc(1_000_000));
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))]);
}

test("what is no picture, or one of a kind that is not taken, is refused before it is parsed", async () => {
  const notTaken = "415 this is no JPEG, PNG or WebP picture";
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"><rect width="9" height="9"/></svg>';
  expect(await refusalOf(Buffer.from("hello"))).toBe(notTaken);
  expect(await refusalOf(Buffer.alloc(0))).toBe(notTaken);
  expect(await refusalOf(Buffer.from(svg))).toBe(notTaken);
  const blank = { create: { width: 32, height: 32, channels: 3, background: "#fff" } } as const;
  expect(await refusalOf(await sharp(blank).tiff().toBuffer())).toBe(notTaken);
  expect(await refusalOf(await sharp(blank).gif().toBuffer())).toBe(notTaken);
});

test("a bomb is refused by its head: a hundred thousand pixels across in a kilobyte", async () => {
  const bytes = bomb(100_000, 100_000);
  expect(bytes.length).toBeLessThan(2_000);
  expect(await refusalOf(bytes)).toBe("422 the picture has more than 50 million pixels");
});

test("too many bytes, too few pixels, and a picture whose end is missing are refused", async () => {
  expect(await refusalOf(new Uint8Array(pictureLimits.bytes + 1))).toBe("413 a photo has at most 12 MiB");
  const { bytes } = await portrait(0);
  expect(await refusalOf(bytes.subarray(0, bytes.length / 2))).toStartWith("422 the picture is damaged: ");
  const tiny = await sharp(bytes).resize({ width: 8, height: 8 }).png().toBuffer();
  expect(await refusalOf(tiny)).toBe("422 the picture is smaller than 16 pixels");
});

test("what is shown is upright, small, and says nothing of camera or place", async () => {
  const { bytes } = await portrait(0);
  const lying = await sharp(bytes)
    .resize({ width: 2_000, height: 1_000, fit: "fill" })
    .withExif({ IFD0: { Make: "A camera" }, IFD3: { GPSLatitudeRef: "N" } })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  expect((await sharp(lying).metadata()).exif).toBeDefined();
  const picture = await readPicture(lying);
  expect([picture.width, picture.height]).toEqual([1_000, 2_000]);
  const view = await sharp(picture.view).metadata();
  expect([view.width, view.height, view.exif, view.orientation]).toEqual([512, 1_024, undefined, undefined]);
});
