/** A fenced block of a document. */
export interface Block {
  /** The word behind the fence: `ts`, `sql`. */
  readonly language: string;
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
  /** The heading that it stands under; empty before the first. */
  readonly heading: string;
}

/** The fenced blocks of a Markdown text, in order. */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let heading = "";
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of markdown.split("\n").entries()) {
    const fence = /^```(\S*)/.exec(line);
    if (open !== undefined) {
      if (fence === null) open.lines.push(line);
      else {
        blocks.push({ language: open.language, text: `${open.lines.join("\n")}\n`, line: open.line, heading });
        open = undefined;
      }
    } else if (fence !== null) open = { language: fence[1] ?? "", line: index + 2, lines: [] };
    else heading = /^#+\s+(.*?)\s*$/.exec(line)?.[1] ?? heading;
  }
  if (open !== undefined) throw new Error(`the block at line ${open.line} is never closed`);
  return blocks;
}

/** The code of the README's first consumer: the first ts block under the heading "A first consumer". */
export function firstConsumer(readme: string): string {
  const block = blocksOf(readme).find(({ language, heading }) => language === "ts" && heading === "A first consumer");
  if (block === undefined) throw new Error('README.md has no ts block under "A first consumer"');
  return block.text;
}
