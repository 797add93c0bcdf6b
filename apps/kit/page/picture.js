// Draws topics and groups as they move: each topic a card with what flows in, each group a lane with its lag over the last
// minute. The numbers come as server-sent events; names enter the page through textContent.

const historyMs = 60_000;
const svgNamespace = "http://www.w3.org/2000/svg";
const words = new Intl.NumberFormat("en");

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function drawn(tag, attributes) {
  const element = document.createElementNS(svgNamespace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** A line over time that fills the box of 300 × 40. */
function sparkline() {
  const svg = drawn("svg", { viewBox: "0 0 300 40", preserveAspectRatio: "none", "aria-hidden": "true" });
  const [area, line] = [drawn("path", { class: "area" }), drawn("path", { class: "line" })];
  svg.append(area, line);
  const points = [];
  return {
    svg,
    add(at, value) {
      points.push({ at, value });
      while (points.length > 2 && points[0].at < at - historyMs) points.shift();
      const peak = Math.max(10, ...points.map((point) => point.value));
      const place = (point) =>
        `${(300 - ((at - point.at) / historyMs) * 300).toFixed(1)} ${(38 - (point.value / peak) * 35).toFixed(1)}`;
      const path = points.map(place).join(" L ");
      line.setAttribute("d", `M ${path}`);
      const from = (300 - ((at - points[0].at) / historyMs) * 300).toFixed(1);
      area.setAttribute("d", `M ${from} 40 L ${path} L 300 40 Z`);
    },
  };
}

function groupLane() {
  const element = made("li", "lane");
  const [name, lag, rate, badges] = [
    made("b", "lane-name"),
    made("span", "lane-lag"),
    made("span", "quiet"),
    made("span"),
  ];
  const spark = sparkline();
  const box = made("span", "lane-spark");
  box.append(spark.svg);
  const head = made("span", "lane-head");
  head.append(name, badges);
  element.append(head, box, lag, rate);
  return {
    element,
    show(group, at) {
      name.textContent = group.group;
      lag.textContent = group.lag === 0 ? "caught up" : `${words.format(group.lag)} behind`;
      lag.classList.toggle("behind", group.lag > 0);
      rate.textContent = `${words.format(group.perSecond)}/s`;
      const shown = [
        ...(group.isPaused ? [["waiting", "paused"]] : []),
        ...(!group.isOwned ? [["waiting", "nobody at work"]] : []),
        ...(group.retrying > 0 ? [["waiting", `${words.format(group.retrying)} to retry`]] : []),
        ...(group.deadLetters > 0 ? [["refused", `${words.format(group.deadLetters)} dead`]] : []),
      ];
      badges.replaceChildren(...shown.map(([kind, text]) => made("span", `badge ${kind}`, text)));
      spark.add(at, group.lag);
    },
  };
}

function topicCard() {
  const element = made("article", "topic");
  const head = made("p", "topic-head");
  const [name, count, rate] = [made("h3"), made("span", "quiet"), made("span", "topic-rate")];
  head.append(name, count, rate);
  const lanes = made("ul", "lanes");
  const nobody = made("p", "quiet", "No group reads it yet.");
  element.append(head, lanes, nobody);
  const groups = new Map();
  return {
    element,
    show(topic, own, at) {
      name.textContent = topic.name;
      count.textContent = `${words.format(topic.messages)} in the log`;
      rate.textContent = `+${words.format(topic.perSecond)}/s`;
      rate.classList.toggle("flows", topic.perSecond > 0);
      nobody.hidden = own.length > 0;
      keep(groups, lanes, own, (group) => group.group, groupLane).forEach((lane, index) => {
        lane.show(own[index], at);
      });
    },
  };
}

/** Gives one part of the page for each item, in order: those of before where they exist, new ones where not. */
function keep(parts, parent, items, keyOf, make) {
  const keys = items.map(keyOf);
  for (const [key, part] of parts) {
    if (keys.includes(key)) continue;
    part.element.remove();
    parts.delete(key);
  }
  return keys.map((key, index) => {
    if (!parts.has(key)) parts.set(key, make());
    const part = parts.get(key);
    if (parent.children[index] !== part.element) parent.insertBefore(part.element, parent.children[index] ?? null);
    return part;
  });
}

function start(section) {
  const only = section.dataset.topics?.split(" ");
  const status = made("p", "quiet");
  status.setAttribute("role", "status");
  const list = made("div", "topics");
  section.replaceChildren(list, status);
  const cards = new Map();
  const source = new EventSource(section.dataset.picture);
  source.addEventListener("message", (event) => {
    const { at, topics, groups } = JSON.parse(event.data);
    const shown = only === undefined ? topics : topics.filter((topic) => only.includes(topic.name));
    status.textContent = shown.length === 0 ? "There is no topic yet." : "";
    keep(cards, list, shown, (topic) => topic.name, topicCard).forEach((card, index) => {
      const topic = shown[index];
      card.show(
        topic,
        groups.filter((group) => group.topic === topic.name),
        at,
      );
    });
  });
  source.addEventListener("trouble", () => {
    status.textContent = "The database does not answer; trying again.";
  });
  source.addEventListener("error", () => {
    status.textContent = "The server does not answer; trying again.";
  });
}

for (const section of document.querySelectorAll("[data-picture]")) start(section);
