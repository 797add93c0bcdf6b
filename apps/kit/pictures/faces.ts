import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";

/** A face, its place as shares of the picture's width and height. */
export interface Face {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** How sure the detector is, 0.5 to 1. */
  readonly score: number;
  /** 128 numbers: near each other for one person, farther apart for two. */
  readonly descriptor: Float32Array;
}

/** What was found on a picture. */
export interface FoundFaces {
  /** The surest first, as many as were asked for at most. */
  readonly faces: readonly Face[];
  readonly hasMore: boolean;
}

/** Looks for faces in a picture. */
export type Recognise = (picture: Uint8Array) => Promise<FoundFaces>;

/**
 * Loads TensorFlow and the three models that face-api ships: about a second and 400 MB. The result looks for faces in a
 * picture as sharp reads it, one picture at a time, however many ask: the work has one thread. The detector sees a square of 512
 * pixels, whatever the picture's size: a face narrower than a fortieth of the longer side may be overlooked.
 *
 * @param mostFaces of one picture; each takes 0.1 s and 10 MB
 */
export async function loadFaceRecognition(mostFaces: number): Promise<Recognise> {
  const { faceApi, core } = await importQuietly();
  await core.setBackend("wasm");
  await core.ready();
  const { tf, nets } = faceApi;
  const models = join(folderOf("@vladmandic/face-api"), "model");
  for (const net of [nets.ssdMobilenetv1, nets.faceLandmark68Net, nets.faceRecognitionNet]) {
    await net.loadFromDisk(models);
  }
  const options = new faceApi.SsdMobilenetv1Options({ minConfidence: 0.5, maxResults: mostFaces + 1 });

  const find: Recognise = async (picture) => {
    const { data, info } = await sharp(picture, { failOn: "error" })
      .removeAlpha()
      .toColourspace("srgb")
      .raw()
      .toBuffer({ resolveWithObject: true });
    const tensor = tf.tensor3d(Int32Array.from(data), [info.height, info.width, 3], "int32");
    try {
      const found = await faceApi.detectAllFaces(tensor, options).withFaceLandmarks().withFaceDescriptors();
      const faces = found.map(({ detection: { box, score }, descriptor }) => ({
        x: box.x / info.width,
        y: box.y / info.height,
        width: box.width / info.width,
        height: box.height / info.height,
        score,
        descriptor,
      }));
      const best = faces.toSorted((left, right) => right.score - left.score);
      return { faces: best.slice(0, mostFaces), hasMore: best.length > mostFaces };
    } finally {
      tensor.dispose();
    }
  };
  let last: Promise<unknown> = Promise.resolve();
  return (picture) => {
    const turn = last.then(() => find(picture));
    last = turn.catch(() => undefined);
    return turn;
  };
}

/** TensorFlow greets on the console, and warns of what is meant here: its core is there twice, under two names. */
async function importQuietly() {
  const { warn, log } = console;
  [console.warn, console.log] = [() => undefined, () => undefined];
  try {
    // face-api calls methods on tensors (`x.as3D()`), which are no part of the core by itself.
    await import("@tensorflow/tfjs/dist/public/chained_ops/register_all_chained_ops.js");
    const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
    setWasmPaths(`${join(folderOf("@tensorflow/tfjs-backend-wasm"), "dist")}/`);
    const core = await import("@tensorflow/tfjs");
    return { faceApi: await import("@vladmandic/face-api/dist/face-api.node-wasm.js"), core };
  } finally {
    [console.warn, console.log] = [warn, log];
  }
}

/** Where a package lies. */
export function folderOf(name: string): string {
  return dirname(fileURLToPath(import.meta.resolve(`${name}/package.json`)));
}
