import sharp from "sharp";

// Whatever else libvips can read (SVG, TIFF, PDF, …) is refused before a byte of it is parsed.
sharp.block({ operation: ["VipsForeignLoad"] });
sharp.unblock({ operation: ["VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadWebp"] });
// Requests go side by side; none gets more than one core, and nothing is kept between them.
sharp.concurrency(1);
sharp.cache(false);

/** What is taken at most. */
export const pictureLimits = { bytes: 12 * 1_024 * 1_024, pixels: 50_000_000, fewestPixels: 16 } as const;

/** A picture as it is kept. */
export interface Picture {
  readonly format: "jpeg" | "png" | "webp";
  /** In pixels, as it is seen: upright. */
  readonly width: number;
  readonly height: number;
  /** Upright, at most 1,024 pixels, without metadata: no place, no camera. */
  readonly view: Buffer;
  readonly thumbnail: Buffer;
}

/** Why a picture is not taken; `status` answers whoever sent it. */
export class PictureRefusal extends Error {
  override readonly name = "PictureRefusal";
  readonly status: 413 | 415 | 422;

  constructor(status: 413 | 415 | 422, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Looks at a picture's head first, which tells a bomb by its size before anything is unpacked, then decodes all of it, so that
 * what is broken is known now and not in a stage.
 *
 * Fails with {@link PictureRefusal}.
 */
export async function readPicture(bytes: Uint8Array): Promise<Picture> {
  if (bytes.length === 0) throw notTaken();
  if (bytes.length > pictureLimits.bytes) throw new PictureRefusal(413, "a photo has at most 12 MiB");
  const options = { failOn: "error", limitInputPixels: pictureLimits.pixels } as const;
  const { format, autoOrient } = await sharp(bytes, options)
    .metadata()
    .catch((error: unknown) => {
      if (/exceeds pixel limit/.test(String(error))) throw tooLarge();
      throw notTaken();
    });
  if (format !== "jpeg" && format !== "png" && format !== "webp") throw notTaken();
  const { width, height } = autoOrient;
  if (width * height > pictureLimits.pixels) throw tooLarge();
  if (Math.min(width, height) < pictureLimits.fewestPixels) {
    throw new PictureRefusal(422, `the picture is smaller than ${pictureLimits.fewestPixels} pixels`);
  }
  try {
    const view = await sharp(bytes, options)
      .autoOrient()
      .resize({ width: 1_024, height: 1_024, fit: "inside", withoutEnlargement: true })
      .flatten({ background: "white" })
      .jpeg({ quality: 88 })
      .timeout({ seconds: 20 })
      .toBuffer();
    const thumbnail = await sharp(view).resize({ width: 320, height: 240, fit: "cover" }).jpeg().toBuffer();
    return { format, width, height, view, thumbnail };
  } catch (error) {
    throw new PictureRefusal(422, `the picture is damaged: ${reasonOf(error)}`);
  }
}

function notTaken(): PictureRefusal {
  return new PictureRefusal(415, "this is no JPEG, PNG or WebP picture");
}

function tooLarge(): PictureRefusal {
  return new PictureRefusal(422, "the picture has more than 50 million pixels");
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split("\n")[0] ?? "").slice(0, 200) : "it cannot be read";
}
