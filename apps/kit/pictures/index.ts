export { dominantColour } from "./colour.ts";
export { type Face, type FoundFaces, loadFaceRecognition, type Recognise } from "./faces.ts";
export { type Picture, PictureRefusal, pictureLimits, readPicture } from "./picture.ts";
export { type Change, portrait, portraits, type SamplePhoto, samplePhotos } from "./samples.ts";
