import type { LikePart } from "./node.ts";

/** Takes the pattern of a `like` apart; a text says what is wrong with it. Without an escape, `%` and `_` are always wild. */
export function likePattern(pattern: string, escaping: string | undefined): readonly LikePart[] | string {
  const parts: LikePart[] = [];
  let isEscaped = false;
  for (const character of pattern) {
    if (isEscaped) {
      if (character !== "%" && character !== "_" && character !== escaping) {
        return "after its escape character a pattern has %, _ or that character again";
      }
      parts.push({ character });
      isEscaped = false;
    } else if (character === escaping) isEscaped = true;
    else if (character === "_") parts.push("one");
    // Two of them mean the same as one.
    else if (character === "%") {
      if (parts.at(-1) !== "many") parts.push("many");
    } else parts.push({ character });
  }
  return isEscaped ? "a pattern does not end with its escape character" : parts;
}

/**
 * Whether a text fits a pattern, by code points. It never tries more than one place for each `%` again, so it takes at most
 * the product of the two lengths.
 */
export function isLike(text: string, pattern: readonly LikePart[]): boolean {
  const characters = [...text];
  let at = 0;
  let part = 0;
  let lastMany = -1;
  let lastManyAt = 0;
  while (at < characters.length) {
    const wanted = pattern[part];
    if (wanted === "many") {
      lastMany = part;
      lastManyAt = at;
      part += 1;
    } else if (wanted !== undefined && (wanted === "one" || wanted.character === characters[at])) {
      at += 1;
      part += 1;
    } else if (lastMany >= 0) {
      lastManyAt += 1;
      at = lastManyAt;
      part = lastMany + 1;
    } else return false;
  }
  while (pattern[part] === "many") part += 1;
  return part === pattern.length;
}
