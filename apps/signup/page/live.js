// Keeps the list of recent sign-ups up to date and sends the form without leaving the page.
// Everything that came from a user enters the page through textContent.

const list = document.getElementById("recent");
const nobody = document.getElementById("nobody");
const form = document.getElementById("signup");
const answer = document.getElementById("answer");

const stepLabels = { row: "row and message", email: "e-mail", sms: "SMS", voucher: "voucher" };

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const stepWords = {
  done: () => "committed",
  absent: () => "no such group yet",
  waiting: () => "on its way",
  retrying: (step) => `attempt ${step.attempt} failed, trying again`,
  dead: (step) => `dead letter after ${step.attempt} attempts`,
  redriven: () => "redriven",
  sent: (step) =>
    `after ${duration(step.afterMs)}${step.wasRedriven ? ", redriven" : step.attempt > 1 ? `, attempt ${step.attempt}` : ""}`,
  refused: () => "refused",
};

function duration(milliseconds) {
  return milliseconds < 10_000 ? `${milliseconds} ms` : `${Math.round(milliseconds / 1_000)} s`;
}

function stepBadge(name, step) {
  const badge = element("span", `badge ${step.state}`);
  badge.append(element("b", "", stepLabels[name]), ` ${stepWords[step.state](step)}`);
  if (step.detail) badge.title = step.detail;
  return badge;
}

function fill(item, signup) {
  const who = element("p", "who");
  who.append(element("strong", "", signup.name), " ", element("span", "quiet", signup.email));
  const steps = element("p", "steps");
  steps.append(stepBadge("row", { state: "done" }), ...signup.steps.map((step) => stepBadge(step.group, step)));
  item.replaceChildren(who, steps);
}

const shown = new Map();

function show(signups) {
  nobody.hidden = signups.length > 0;
  const ids = new Set(signups.map((signup) => signup.id));
  for (const [id, { item }] of shown) {
    if (ids.has(id)) continue;
    item.remove();
    shown.delete(id);
  }
  signups.forEach((signup, index) => {
    const text = JSON.stringify(signup);
    const entry = shown.get(signup.id) ?? { item: element("li", "signup"), text: "" };
    if (entry.text !== text) fill(entry.item, signup);
    shown.set(signup.id, { item: entry.item, text });
    if (list.children[index] !== entry.item) list.insertBefore(entry.item, list.children[index] ?? null);
  });
}

let latest = 0;

async function refresh() {
  const number = ++latest;
  const response = await fetch("/recent");
  // An answer that was overtaken by a later one would move the list back in time.
  if (response.ok && number === latest) show(await response.json());
}

async function keepFresh() {
  try {
    if (!document.hidden) await refresh();
  } catch (error) {
    console.warn("the server did not answer, trying again", error);
  } finally {
    setTimeout(keepFresh, 700);
  }
}

function showAnswer(text, isGood) {
  answer.textContent = text;
  answer.className = isGood ? "good" : "bad";
}

function showErrors(fields) {
  let first;
  for (const input of form.querySelectorAll("input")) {
    const error = fields[input.name]?.[0] ?? "";
    document.getElementById(`${input.name}-error`).textContent = error;
    input.setAttribute("aria-invalid", String(error !== ""));
    if (error !== "") first ??= input;
  }
  first?.focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const startedAt = performance.now();
    const response = await fetch("/signup", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(Object.fromEntries(new FormData(form))),
    });
    const body = await response.json();
    const tookMs = Math.round(performance.now() - startedAt);
    showErrors(body.fields ?? {});
    if (response.ok) {
      form.reset();
      showAnswer(`Welcome! The answer took ${tookMs} ms.`, true);
      await refresh();
    } else {
      showAnswer(body.fields === undefined ? body.error : "Please look at the fields marked above.", false);
    }
  } catch (error) {
    console.warn(error);
    showAnswer("The server did not answer. Please try again.", false);
  } finally {
    button.disabled = false;
  }
});

keepFresh();
