/* What a finished run found: scores with their intervals, and rows it answered best and worst. */

import { count, el, loss, share, size, span } from "./dom.js";

const SCORES = {
  exact_match: ["Exact match", "the share of answers that equal the expected one, letter by letter"],
  word_f1: ["Word overlap (F1)", "how far answers share the words of the expected ones"],
  accuracy: ["Accuracy", "the share of rows that got the right label"],
  macro_f1: ["Macro F1", "the F1 score of each label, averaged over labels"],
  loss: ["Loss", "in nats, lower is better"],
};
const titled = (name) => (SCORES[name] || [name.replaceAll("_", " ")])[0];

export function verdict(result) {
  const { metrics } = result;
  const learned = (100 * result.trainable_parameters) / result.total_parameters;
  const cost = el(
    "p",
    { class: "ts-quiet" },
    `${count(result.trainable_parameters)} of ${count(result.total_parameters)} weights learned (${learned.toPrecision(2)} %), `
      + `in ${span(result.seconds)}, with ${size(result.peak_memory_bytes)} of memory at its peak. `
      + `The result takes ${size(result.artifact_bytes)}.`,
  );
  if (!metrics.after) return [el("h2", {}, "Trained, not scored"), el("p", {}, "No rows were held out."), cost];
  const main = metrics.main;
  const scored = [
    ["Before", metrics.before],
    ...Object.entries(metrics.baselines || {}).map(([name, scores]) => [`Before, ${name}`, scores]),
    ["After", metrics.after],
  ].filter(([, scores]) => scores);
  return [
    el("h2", {}, headline(main, metrics)),
    el(
      "p",
      { class: "ts-quiet" },
      `${titled(main)} is ${(SCORES[main] || ["", "the main score"])[1]}. Measured on ${count(metrics.rows)} held-out rows, `
        + "which it did not learn from. The thin bar is the 95 % interval: another set of rows like these would most likely score within it.",
    ),
    bars(scored, main),
    el("details", {}, el("summary", {}, "All scores"), table(scored)),
    cost,
  ];
}

function headline(main, { before, after }) {
  if (!before) return `${titled(main)}: ${share(after[main])} on rows it had not seen`;
  const apart = after[`${main}_low`] > before[`${main}_high`];
  const word = after[main] >= before[main] ? "rose" : "fell";
  const sure = apart || after[main] < before[main] ? "" : "; the intervals overlap, so this may be chance";
  return `${titled(main)} ${word} from ${share(before[main])} to ${share(after[main])}${sure}`;
}

function bars(scored, main) {
  const list = el("dl", { class: "ts-scores" });
  for (const [name, scores] of scored) {
    const low = scores[`${main}_low`], high = scores[`${main}_high`];
    const fill = el("i"), whisker = el("b");
    fill.style.width = `${100 * scores[main]}%`;
    if (low !== undefined) Object.assign(whisker.style, { left: `${100 * low}%`, width: `${100 * (high - low)}%` });
    list.append(
      el("dt", {}, name),
      el("div", { class: `ts-track ${name === "After" ? "ts-after" : ""}`, "aria-hidden": "true" }, fill, low === undefined ? null : whisker),
      el("dd", {}, share(scores[main]), " ", low === undefined ? null : el("small", {}, interval(low, high))),
    );
  }
  return list;
}

const interval = (low, high) => `${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)}`;

function table(scored) {
  const names = Object.keys(scored.at(-1)[1]).filter((name) => !/_(low|high)$/.test(name));
  const cell = (scores, name) => {
    if (scores[name] === undefined) return "–";
    if (!(`${name}_low` in scores)) return loss(scores[name]);
    return `${share(scores[name])} (${interval(scores[`${name}_low`], scores[`${name}_high`])})`;
  };
  return scrolling(
    "All scores",
    ["Score", ...scored.map(([name]) => name)],
    names.map((name) => [
      el("th", { scope: "row" }, titled(name), ": ", el("span", { class: "ts-quiet" }, (SCORES[name] || ["", ""])[1])),
      ...scored.map(([, scores]) => el("td", {}, cell(scores, name))),
    ]),
  );
}

export function rows(title, list) {
  if (!list.length) return [];
  const cells = (row) => [
    el("td", {}, String(row.row)),
    ...[row.prompt, row.expected, row.was ?? "–", row.answer].map((text) => el("td", { class: "ts-words" }, text || "(nothing)")),
  ];
  return [el("h2", {}, title), scrolling(title, ["Row", "Asked", "Expected", "Before", "After"], list.map(cells))];
}

function scrolling(title, heads, lines) {
  return el(
    "div",
    { class: "ts-scroll", tabindex: "0", role: "region", "aria-label": title },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...lines.map((cells) => el("tr", {}, ...cells))),
    ),
  );
}
