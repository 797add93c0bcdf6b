import sharp from "sharp";

/** The colour that there is most of, as `#rrggbb`. */
export async function dominantColour(picture: Uint8Array): Promise<string> {
  const { r, g, b } = (await sharp(picture).stats()).dominant;
  return `#${[r, g, b].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
