/* The Data step: findings that open their rows and are mended with a click, and the search on the Hub.
   Each part is started by a component of the page (ui/screens/findings.py: live), which hands over its element,
   `trigger` to call the server, and `watch` to hear of new markup. */

import { ask, count, el, put } from "./dom.js";
import { land } from "./focus.js";

const WAIT_MS = 350;
const LEAST_WORDS = 2;

export function findings(element, trigger, watch) {
  let busy = false;
  const rest = () => {
    busy = false;
    element.querySelectorAll("[data-remedy], [data-undo]").forEach((button) => (button.disabled = false));
  };
  element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-remedy], [data-undo]");
    if (!button || busy) return;
    busy = true;
    element.querySelectorAll("[data-remedy], [data-undo]").forEach((other) => (other.disabled = true));
    button.textContent = "Working on it…";
    trigger("click", "undo" in button.dataset ? { undo: true } : { remedy: button.dataset.remedy });
  });
  // `toggle` does not bubble, so it is caught on its way down.
  element.addEventListener("toggle", ({ target }) => open(element, target), true);
  watch("value", () => {
    const did = element.querySelector(".ts-did");
    if (busy && did) did.focus();
    if (did || !element.querySelector(".ts-found")) busy = false;
  });
  document.addEventListener("ts-data-refused", () => {
    const asked = [...element.querySelectorAll("button")].find((button) => button.textContent === "Working on it…");
    if (asked) asked.textContent = asked.getAttribute("aria-label")?.split(": ")[0] ?? "Undo the last step";
    rest();
    if (document.activeElement === document.body) asked?.focus();
  });
}

/* The data sets of a run that stand ready: each can be opened, or left out. */
export function sets(element, trigger, watch) {
  let acted = false;
  element.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-act]");
    if (!button) return;
    acted = true;
    trigger("click", { act: button.dataset.act, set: Number(button.dataset.set) });
  });
  document.addEventListener("ts-set-added", () => (acted = true));
  watch("value", () => {
    if (!acted) return;
    acted = false;
    const title = element.querySelector("h2") ?? [...document.querySelectorAll(".ts-view-new h1")].find((head) => head.getClientRects().length);
    if (title) land(title);
  });
}

async function open(element, details) {
  const place = details.open && details.querySelector("[data-rows]");
  if (!place || place.childNodes.length) return;
  const { entry } = element.querySelector(".ts-found").dataset;
  await more(place, { entry, name: details.dataset.finding }, 0);
}

async function more(place, asked, start) {
  const wait = el("p", { class: "ts-quiet", role: "status" }, "Fetching the rows…");
  place.append(wait);
  try {
    const { count: all, rows } = await ask(`data/rows?${new URLSearchParams({ ...asked, start })}`);
    wait.replaceWith(...rows.map(row));
    const shown = start + rows.length;
    if (shown >= all || !rows.length) return;
    const button = el("button", { type: "button", class: "ts-button" }, `Show more of ${count(all)} rows`);
    button.addEventListener("click", async () => {
      const last = button.previousElementSibling;
      button.remove();
      await more(place, asked, shown);
      last?.nextElementSibling?.focus();
    });
    place.append(button);
  } catch (error) {
    wait.textContent = `${error.problem ?? "The server does not answer."} ${error.fix ?? "Try again in a moment."}`;
  }
}

function row({ place, note, cells }) {
  return el(
    "div",
    { class: "ts-row", tabindex: "-1" },
    el("p", { class: "ts-quiet" }, [place, note].filter(Boolean).join(": ")),
    el("dl", { class: "ts-asked" }, ...cells.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text.trim() ? text : "(empty)")])),
  );
}

export function search(element, trigger) {
  let timer = 0, asked = 0;
  const look = async (words) => {
    const mine = (asked += 1);
    if (words.length < LEAST_WORDS) return put(element);
    put(element, el("p", { class: "ts-quiet", role: "status" }, "Searching the Hub…"));
    let shown;
    try {
      const found = await ask(`data/search?${new URLSearchParams({ q: words })}`);
      shown = found.length ? results(found) : el("p", { class: "ts-quiet", role: "status" }, "Nothing on the Hub has such a name.");
    } catch (error) {
      shown = el("p", { class: "ts-quiet", role: "status" }, `${error.problem ?? "The server does not answer."} ${error.fix ?? ""}`);
    }
    if (mine === asked) put(element, shown);
  };
  document.addEventListener("input", ({ target }) => {
    if (!target.closest?.("#ts-hub-name")) return;
    clearTimeout(timer);
    timer = setTimeout(look, WAIT_MS, target.value.trim());
  });
  // What was written before this script had come.
  const written = document.querySelector("#ts-hub-name :is(input, textarea)")?.value.trim();
  if (written) timer = setTimeout(look, WAIT_MS, written);
  element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-id]");
    if (!button) return;
    asked += 1;
    element.querySelectorAll("[data-id]").forEach((other) => other.setAttribute("aria-pressed", other === button));
    trigger("select", { id: button.dataset.id });
  });
}

function results(found) {
  const told = ({ downloads, rows, gated }) =>
    [
      downloads === null ? null : `${count(downloads)} downloads a month`,
      rows ? `${rows} rows` : null,
      gated ? "asks people to agree first" : null,
    ].filter(Boolean).join(", ");
  return el(
    "ul",
    { class: "ts-results", "aria-label": "Data sets found" },
    ...found.map((item) =>
      el("li", {}, el("button", { type: "button", "data-id": item.id, "aria-pressed": "false" }, el("b", {}, item.id), el("span", { class: "ts-quiet" }, told(item)))),
    ),
  );
}
