/* Cards to choose from (ui/choices.py): a card that is taken is written into the text input that keeps the choice,
   and an id that is typed there takes its card. */

import { mix } from "./mix.js";

let last = null;
const opened = new Map();

export function method() {
  mix(write);
  document.addEventListener("change", (event) => {
    const radio = event.target.closest?.(".ts-card input[type=radio]");
    if (radio) write(field(radio.closest(".ts-choices").dataset.for), radio.value);
  });
  document.addEventListener("input", (event) => {
    const input = event.target.closest?.("#ts-model textarea, #ts-model input");
    if (input) take("ts-model", input.value.trim());
  });
  // Whoever wrote a choice into its input: the server, too, and without an event of the document.
  document.addEventListener("ts-chosen", ({ detail }) => take(detail.place, String(detail.value ?? "").trim()));
  // Cards are drawn anew when what they say changes; whoever was going through them by keyboard stays where they were.
  document.addEventListener("focusin", (event) => {
    last = event.target.matches?.(".ts-card input[type=radio]") ? event.target : null;
  });
  // A fold that somebody opened stays open, though the server draws it closed.
  document.addEventListener("click", (event) => {
    const fold = event.target.closest?.(".ts-more-cards > summary")?.parentElement;
    if (fold) opened.set(fold.dataset.fold, !fold.open);
  });
  new MutationObserver((changes) => {
    for (const { target } of changes) keepOpen(target);
  }).observe(document.body, { attributeFilter: ["open"], subtree: true });
  new MutationObserver((changes) => {
    if (!changes.some(({ addedNodes }) => [...addedNodes].some(holdsCards))) return;
    // The input has the last word: a choice may have moved on while the server drew the cards.
    for (const { dataset } of document.querySelectorAll(".ts-choices")) take(dataset.for, field(dataset.for)?.value.trim());
    document.querySelectorAll(".ts-more-cards").forEach(keepOpen);
    if (!last || last.isConnected) return;
    const { name, value } = last;
    last = null;
    radios(name).find((radio) => radio.value === value)?.focus();
  }).observe(document.body, { childList: true, subtree: true });
  // Gradio makes new cards of the old ones where it can, and a radio that was taken before does not heed the markup any more.
  new MutationObserver((changes) => {
    const changed = new Set(changes.map(({ target }) => target.closest?.(".ts-choices")?.dataset.for));
    for (const place of changed) if (place) take(place, field(place)?.value.trim());
  }).observe(document.body, { childList: true, subtree: true, attributeFilter: ["checked", "value"] });
}

function keepOpen(fold) {
  if (fold.matches(".ts-more-cards") && opened.get(fold.dataset.fold) && !fold.open) fold.open = true;
}

function holdsCards(node) {
  return node instanceof Element && (node.matches(".ts-choices") || node.querySelector(".ts-choices") !== null);
}

function field(id) {
  return document.querySelector(`#${id} textarea, #${id} input`);
}

function radios(name) {
  return [...document.querySelectorAll(".ts-card input[type=radio]")].filter((radio) => radio.name === name);
}

function write(input, value) {
  if (!input || input.value === value) return;
  const kind = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(input, value);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

function take(id, value) {
  if (value === undefined) return;
  for (const radio of radios(`${id}-choice`)) radio.checked = radio.value === value;
}
