// Draws what arrives, is refused and is processed per second, and below it how many are in line, over the last half minute.

const plotMs = 30_000;
// Rates are those of the last second: numbers come when they are new, and over a few milliseconds any rate is a peak.
const rateMs = 1_000;
const plotSvg = "http://www.w3.org/2000/svg";
const plotNumbers = new Intl.NumberFormat("en");

function plotPart(tag, className, text) {
  const part = document.createElement(tag);
  part.className = className;
  if (text !== undefined) part.textContent = text;
  return part;
}

function plotShape(tag, attributes) {
  const shape = document.createElementNS(plotSvg, tag);
  for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
  return shape;
}

/** One panel: some lines over time on one scale, its peak, and a legend with what they are now. */
function plotPanel(title, series, least) {
  const element = plotPart("div", "panel");
  const head = plotPart("p", "panel-head");
  const peakText = plotPart("span", "quiet peak");
  const legend = plotPart("span", "legend");
  const svg = plotShape("svg", { viewBox: "0 0 600 120", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(plotShape("line", { x1: 0, x2: 600, y1: 119, y2: 119, class: "axis" }));
  const lines = series.map(({ name, label }) => {
    const item = plotPart("span", `key ${name}`);
    const value = plotPart("b", "key-value", "0");
    item.append(plotPart("i", "key-dot"), `${label} `, value);
    legend.append(item);
    const [area, line] = [plotShape("path", { class: `area ${name}` }), plotShape("path", { class: `line ${name}` })];
    svg.append(area, line);
    return { name, value, area, line };
  });
  head.append(plotPart("b", "", title), peakText);
  element.append(head, svg, legend);
  return {
    element,
    draw(points, at) {
      const peak = Math.max(least, ...points.flatMap((point) => series.map(({ name }) => point[name])));
      peakText.textContent = `up to ${plotNumbers.format(peak)}`;
      const x = (point) => (600 - ((at - point.at) / plotMs) * 600).toFixed(1);
      for (const { name, value, area, line } of lines) {
        value.textContent = plotNumbers.format(points.at(-1)[name]);
        const path = points.map((point) => `${x(point)} ${(119 - (point[name] / peak) * 112).toFixed(1)}`).join(" L ");
        line.setAttribute("d", `M ${path}`);
        area.setAttribute("d", `M ${x(points[0])} 119 L ${path} L ${x(points.at(-1))} 119 Z`);
      }
    },
  };
}

/** How many orders of these sales have been decided since, by the order service: whichever way they came to it. */
function decidedSince(sales, before) {
  const decided = (one) => one.reserved + one.waiting + one.paid + one.returned + one.soldOut;
  return sales.reduce((sum, one) => {
    const then = before.find(({ sale }) => sale === one.sale);
    return sum + decided(one) - (then === undefined ? 0 : decided(then));
  }, 0);
}

/** The plot in this figure; its `add` takes the board as it comes. */
export function salePlot(figure) {
  const rates = plotPanel(
    "Orders per second",
    [
      { name: "arriving", label: "arriving" },
      { name: "refused", label: "told “sold out”" },
      { name: "processed", label: "processed" },
    ],
    100,
  );
  const line = plotPanel("In line", [{ name: "queued", label: "queued" }], 150);
  const times = plotPart("p", "times quiet");
  times.append(plotPart("span", "", `${plotMs / 1_000} s ago`), plotPart("span", "", "now"));
  figure.replaceChildren(rates.element, line.element, times);
  const points = [];
  const seen = [];
  return {
    add(board) {
      seen.push(board);
      while (seen.length > 2 && seen[1].at <= board.at - rateMs) seen.shift();
      const seconds = Math.max(board.at - seen[0].at, rateMs) / 1_000;
      const perSecond = (count) => Math.max(0, Math.round(count / seconds));
      points.push({
        at: board.at,
        arriving: perSecond(board.arrived - seen[0].arrived),
        refused: perSecond(board.refused - seen[0].refused),
        processed: perSecond(decidedSince(board.sales, seen[0].sales)),
        queued: board.inLine,
      });
      while (points.length > 2 && points[1].at < board.at - plotMs) points.shift();
      rates.draw(points, board.at);
      line.draw(points, board.at);
    },
  };
}
