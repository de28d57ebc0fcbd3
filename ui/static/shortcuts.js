/* Single keys for those who like them. They do nothing while one types, and can be switched off (WCAG 2.1.4). */

import { el, found } from "./dom.js";

const OFF = "ts-shortcuts-off";
const SEARCH = "ts-runs-search";
const KEYS = [
  ["n", "New run"],
  ["r", "All runs"],
  ["/", "Search the runs"],
  ["j", "Next run in the list"],
  ["k", "Previous run in the list"],
  ["?", "This list"],
];

export function shortcuts(view) {
  const window_ = dialog();
  foot(window_);
  const acts = {
    n: () => go("?"),
    r: () => go("?runs"),
    "/": () => search(view),
    j: () => step(view, 1),
    k: () => step(view, -1),
    "?": () => window_.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
    if (off() || typing(event.target) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    act();
  });
}

const go = (address) => window.location.assign(address);

function typing(node) {
  return node.isContentEditable || Boolean(node.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [role=textbox], [role=combobox]"));
}

function search(view) {
  const input = document.getElementById(SEARCH);
  if (view === "runs" && input) return input.focus();
  go("?runs#search");
}

/* The next run of the list in sight: the table of all runs, else the list beside the page. */
function step(view, by) {
  const links = [...document.querySelectorAll(view === "runs" ? ".ts-runs-link" : ".ts-rail-item")].filter((link) => link.getClientRects().length);
  if (!links.length) return;
  const here = links.indexOf(document.activeElement);
  const current = here < 0 ? links.findIndex((link) => link.hasAttribute("aria-current")) : here;
  links[Math.min(links.length - 1, Math.max(0, current + by))].focus();
}

function dialog() {
  const box = el("input", { type: "checkbox" });
  box.checked = !off();
  box.addEventListener("change", () => {
    try {
      if (box.checked) localStorage.removeItem(OFF);
      else localStorage.setItem(OFF, "1");
    } catch {
      box.checked = true; // nothing can be kept here
    }
  });
  const close = el("button", { type: "button", class: "ts-button" }, "Close");
  const node = el(
    "dialog",
    { class: "ts-dialog", "aria-labelledby": "ts-shortcuts-title" },
    el("h2", { id: "ts-shortcuts-title" }, "Keyboard shortcuts"),
    el("dl", {}, ...KEYS.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)])),
    el("label", {}, box, "Use these keys in this browser"),
    close,
  );
  close.addEventListener("click", () => node.close());
  document.body.append(node);
  return node;
}

/* The way to the list for those who have switched the keys off, or don't know of them. */
async function foot(node) {
  const button = el("button", { type: "button", "aria-haspopup": "dialog" }, "Keyboard shortcuts");
  button.addEventListener("click", () => node.showModal());
  (await found("ts-rail-foot")).append(button);
}

function off() {
  try {
    return localStorage.getItem(OFF) === "1";
  } catch {
    return false;
  }
}
