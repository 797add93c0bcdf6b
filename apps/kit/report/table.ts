/** How {@link table} sets a column. */
export type Alignment = "left" | "right";

/**
 * Rows as aligned text, the first one as their heading over a line. A cell that is missing stays empty.
 *
 * @example
 * table([["way", "p50"], ["serial", "151.2 ms"]], ["left", "right"])
 */
export function table(rows: readonly (readonly string[])[], alignments: readonly Alignment[] = []): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => widthOf(row[column] ?? ""))),
  );
  const line = (row: readonly string[]) =>
    widths
      .map((width, column) => {
        const text = row[column] ?? "";
        const space = " ".repeat(width - widthOf(text));
        return alignments[column] === "right" ? space + text : text + space;
      })
      .join("  ")
      .trimEnd();
  const [heading = [], ...rest] = rows;
  return [line(heading), widths.map((width) => "─".repeat(width)).join("  "), ...rest.map(line)].join("\n");
}

function widthOf(text: string): number {
  return [...text].length;
}

/** Milliseconds for a report: whole ones from ten on, with tenths below. */
export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
