// Shows an app's scenarios, each with its button, what the run under way says, and the claims of the last one.

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function claimsTable(claims) {
  const box = made("div", "table-box");
  const table = made("table");
  const head = made("tr");
  for (const title of ["", "claim", "measured", "goal"]) head.append(made("th", "", title));
  const body = made("tbody");
  for (const claim of claims) {
    const row = made("tr");
    const mark = made("td", claim.held ? "good" : "bad", claim.held ? "✓" : "✗");
    mark.setAttribute("aria-label", claim.held ? "held" : "did not hold");
    row.append(mark, made("td", "", claim.claim), made("td", "", claim.measured), made("td", "quiet", claim.goal));
    body.append(row);
  }
  const header = made("thead");
  header.append(head);
  table.append(header, body);
  box.append(table);
  return box;
}

function scenarioCard(address, onStart) {
  const element = made("article", "card scenario");
  const head = made("div", "scenario-head");
  const [title, what, button] = [made("h3"), made("p"), made("button", "small", "Start")];
  button.type = "button";
  head.append(title, button);
  const log = made("pre", "log");
  log.setAttribute("role", "log");
  const answer = made("p", "bad");
  answer.setAttribute("role", "status");
  const last = made("div");
  element.append(head, what, answer, log, last);
  let lastText = "";
  let name = "";
  let isRunning = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    answer.textContent = "";
    try {
      const response = await fetch(`${address}/${name}`, { method: "POST" });
      if (!response.ok) answer.textContent = (await response.json()).error;
    } catch (error) {
      console.warn(error);
      answer.textContent = "The server did not answer. Please try again.";
    }
    await onStart();
  });
  return {
    element,
    show(scenario, isBlocked) {
      name = scenario.name;
      title.textContent = scenario.title;
      what.textContent = scenario.what;
      button.disabled = isBlocked;
      const wasRunning = isRunning;
      isRunning = scenario.isRunning;
      button.textContent = scenario.isRunning ? "Running …" : "Start";
      button.setAttribute("aria-label", `Start: ${scenario.title}`);
      const lines = scenario.lines.join("\n");
      log.hidden = lines === "" || !scenario.isRunning;
      if (log.textContent !== lines) {
        log.textContent = lines;
        log.scrollTop = log.scrollHeight;
      }
      const text = JSON.stringify(scenario.last ?? null);
      if (text === lastText) return;
      lastText = text;
      last.replaceChildren();
      if (!scenario.last) return;
      const { passed, endedAt, claims, report } = scenario.last;
      const sum = made("p", "last");
      const time = made("time", "quiet", new Date(endedAt).toLocaleString());
      time.dateTime = endedAt;
      const held = claims.filter((claim) => claim.held).length;
      const count = made("span", "", ` ${held} of ${claims.length} claims held `);
      sum.append(made("span", `badge ${passed ? "sent" : "refused"}`, passed ? "passed" : "failed"), count, time);
      const details = made("details");
      // What has just ended, or has failed, is shown; the success of another day is one line.
      details.open = wasRunning || !passed;
      details.append(made("summary", "", "Claims and report"), claimsTable(claims));
      if (report !== "") details.append(made("pre", "report", report));
      last.append(sum, details);
    },
  };
}

function start(section) {
  const address = section.dataset.scenarios;
  const status = made("p", "quiet");
  status.setAttribute("role", "status");
  section.replaceChildren(status);
  const cards = new Map();
  let timer;
  const refresh = async () => {
    clearTimeout(timer);
    let isRunning = false;
    try {
      const response = await fetch(address);
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const { refusal, scenarios } = await response.json();
      status.textContent = refusal ?? "";
      isRunning = scenarios.some((scenario) => scenario.isRunning);
      for (const scenario of scenarios) {
        if (!cards.has(scenario.name)) {
          cards.set(scenario.name, scenarioCard(address, refresh));
          section.append(cards.get(scenario.name).element);
        }
        cards.get(scenario.name).show(scenario, isRunning || refusal !== null);
      }
    } catch (error) {
      console.warn(error);
      status.textContent = "The app does not answer; trying again.";
    } finally {
      clearTimeout(timer);
      timer = setTimeout(refresh, document.hidden ? 5_000 : isRunning ? 700 : 2_500);
    }
  };
  refresh();
}

for (const section of document.querySelectorAll("[data-scenarios]")) start(section);
