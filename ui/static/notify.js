/* Tells when a run has ended, while a tab of the page is open: by a notification where the browser allows it, and by the tab's title. */

import { el } from "./dom.js";

const KEY = "ts-tell";
const ACTIVE = ["queued", "running", "stopping"];
const ENDS = { finished: "Finished", failed: "Failed", stopped: "Stopped" };

/* The list of runs is looked at every few seconds anyway; what is watched is looked up there. */
export function notify() {
  document.addEventListener("ts-runs", ({ detail }) => {
    for (const run of detail) {
      if (ENDS[run.state] && watched().includes(run.id)) ended(run);
    }
  });
}

/* What stands on a run's page: a button that asks to be told; nothing for a run at rest. */
export function telling({ id, state }) {
  if (!ACTIVE.includes(state)) return null;
  const says = el("span", { role: "status", class: "ts-quiet" });
  const button = el("button", { class: "ts-button", type: "button", "aria-pressed": String(watched().includes(id)) }, "Tell me when it ends");
  button.addEventListener("click", async () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    watch(id, on);
    button.setAttribute("aria-pressed", String(on));
    says.textContent = on ? await asked() : "You will not be told.";
  });
  return el("div", { class: "ts-tell" }, button, says);
}

/* Ask the browser to allow notifications; what will happen, in words. Only ever after a click. */
async function asked() {
  const title = "The title of this tab will say so, while it is open.";
  if (!window.Notification || !window.isSecureContext) return title;
  const answer = Notification.permission === "default" ? await Notification.requestPermission() : Notification.permission;
  return answer === "granted" ? "You will get a notification, while a tab of this page is open." : `Your browser allows no notifications here. ${title}`;
}

function ended(run) {
  watch(run.id, false); // of several tabs the first one tells
  const text = `${ENDS[run.state]}: ${run.name}`;
  const before = document.title;
  document.title = text;
  const back = () => {
    if (document.hidden) return;
    if (document.title === text) document.title = before;
    document.removeEventListener("visibilitychange", back);
  };
  // Somebody who looks at the page sees it anyway; the title comes back when they do.
  document.addEventListener("visibilitychange", back);
  if (!window.Notification || Notification.permission !== "granted") return;
  try {
    const note = new Notification(text, { tag: `tunesmith-${run.id}` });
    note.onclick = () => {
      window.focus();
      window.location.assign(`?run=${run.id}`);
    };
  } catch {
    // Android's browsers only let service workers do it; the title tells.
  }
}

function watched() {
  try {
    const known = JSON.parse(localStorage.getItem(KEY) || "[]");
    return Array.isArray(known) ? known : [];
  } catch {
    return [];
  }
}

function watch(id, on) {
  const others = watched().filter((known) => known !== id);
  try {
    localStorage.setItem(KEY, JSON.stringify(on ? [...others, id].slice(-50) : others));
  } catch {
    // Nothing is kept in a private window; then nobody is told.
  }
}
