// Keeps people, photos and recognition up to date, and uploads without leaving the page.
// The fragments come from the server, where every inserted text was escaped; answers enter the page through textContent.

const form = document.getElementById("upload");
const input = document.getElementById("photo");
const answers = document.getElementById("answers");
const parts = {
  recognition: document.getElementById("live-recognition"),
  gallery: document.getElementById("live-gallery"),
};
const shown = {};

async function refresh() {
  await Promise.all(
    Object.entries(parts).map(async ([name, element]) => {
      const response = await fetch(`/live/${name}${location.search}`);
      const text = await response.text();
      // What somebody is about to press stays where it is.
      if (!response.ok || shown[name] === text || element.contains(document.activeElement)) return;
      shown[name] = text;
      element.innerHTML = text;
    }),
  );
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

function say(name, text, isGood) {
  const item = document.createElement("li");
  item.className = isGood ? "good" : "bad";
  item.textContent = `${name}: ${text}`;
  answers.prepend(item);
  while (answers.children.length > 12) answers.lastChild.remove();
}

async function uploadAll(files) {
  // One request for each, so that one that is refused does not take the others with it.
  for (const file of files) {
    const body = new FormData();
    body.append("photo", file);
    try {
      const startedAt = performance.now();
      const response = await fetch("/photos", { method: "POST", headers: { accept: "application/json" }, body });
      const answer = await response.json();
      const [result] = answer.photos ?? [{ text: answer.error, isGood: false }];
      const took = result.isGood ? `, answered after ${Math.round(performance.now() - startedAt)} ms` : "";
      say(file.name, result.text + took, result.isGood);
    } catch (error) {
      console.warn(error);
      say(file.name, "the server did not take it; it may be too large", false);
    }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  await uploadAll(input.files);
  button.disabled = false;
  form.reset();
});

// A button of recognition or of a photo: sent without leaving the page.
for (const element of Object.values(parts)) {
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(event.target, event.submitter));
    const response = await fetch(event.target.action, { method: "POST", body: fields });
    if (!response.ok) say(event.submitter?.textContent ?? "That", (await response.json()).error, false);
    document.activeElement?.blur();
    await refresh();
  });
}

const isFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!isFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!isFiles(event)) return;
  event.preventDefault();
  uploadAll(event.dataTransfer.files);
});

keepFresh();
