/* What a run tells while it works: its figures, the plan against the clock, and what it answers by the way. */

import { count, el, loss, size, span } from "./dom.js";

const MOST_SAMPLES = 5, MEASURED_STEPS = 10, LONG = 200;
const HEADS = ["Step", "Asked", "Answers", "Expected"];

/* All figures from the start on, those not yet known as a dash: so nothing moves when they come.
   fits: a classifier is fitted; there are no losses and no passes. */
export function facts(last, held, left, live, fits) {
  const known = last || {};
  const told = (value, write) => (value === undefined || value === null ? "–" : write(value));
  const list = fits ? [
    ["Fits", last ? `${count(last.step)} of ${count(last.total_steps)}` : "–"],
    ["Memory, peak", told(known.memory_bytes, size)],
    ["At it for", told(known.seconds, span)],
    ...(live ? [["Left", told(left, span)]] : []),
  ] : [
    ["Step", last ? `${count(last.step)} of ${count(last.total_steps)}` : "–"],
    ["Passes", told(known.epoch, (value) => value.toFixed(2))],
    ["Training loss", told(known.loss, loss)],
    ["Held-out loss", held.length ? loss(held.at(-1).loss) : "–"],
    ["Speed", told(known.tokens_per_second, (value) => `${count(Math.round(value))} tokens/s`)],
    ["Memory, peak", told(known.memory_bytes, size)],
    ["Trained for", told(known.seconds, span)],
    ...(live ? [["Left to train", told(left, span)]] : []),
  ];
  return el("dl", { class: "ts-facts" }, ...list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/* The plan's time for training, and after ten steps what it is coming to. Null where nothing was planned. */
export function course(planned, last, left) {
  if (!planned) return null;
  const measured = last && last.step >= MEASURED_STEPS && left !== null && left !== undefined;
  const so = measured ? `on course for ${span(last.seconds + left)}` : "measured against the clock after ten steps";
  return `Planned ${span(planned)} of training, ${so}.`;
}

/* Newest first. Its table is there from the first check on, and grows at its end only until it is full. */
export function samples(list) {
  if (!list.length) return [];
  const shown = list.slice(-MOST_SAMPLES).reverse();
  const cells = ({ step, prompt, answer, expected }) => [
    el("th", { scope: "row", role: "rowheader", "data-head": HEADS[0] }, count(step)),
    ...[prompt, answer || "(nothing)", expected || "–"].map((text, i) => el("td", { class: "ts-words", role: "cell", "data-head": HEADS[i + 1] }, brief(text))),
  ];
  const heads = HEADS.map((head) => el("th", { scope: "col", role: "columnheader" }, head));
  return [
    el("h2", {}, "What it answered on the way"),
    el(
      "div",
      { class: "ts-scroll ts-samples", tabindex: "0", role: "region", "aria-label": "What it answered on the way" },
      // The roles are those of a table anyway; on a phone, where it is drawn as cards, browsers would forget them.
      el("table", { role: "table" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
        el("tbody", { role: "rowgroup" }, ...shown.map((sample) => el("tr", { role: "row" }, ...cells(sample))))),
    ),
  ];
}

function brief(text) {
  return text.length > LONG ? `${text.slice(0, LONG - 1)}…` : text;
}
