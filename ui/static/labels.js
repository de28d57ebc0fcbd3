/* A classifier's result label by label: precision, recall and F1 of each, and which labels are taken for which. */

import { between, count, el, put, share } from "./dom.js";

const AT_FIRST = 12;

export function byLabel(found) {
  if (!found) return [];
  const place = el("div", { class: "ts-stack" });
  const scorings = [["After", found.after], ["Before", found.before]].filter(([, scoring]) => scoring);
  const buttons = scorings.map(([name, scoring]) => {
    const node = el("button", { class: "ts-tab", type: "button" }, name);
    node.addEventListener("click", () => show(name, scoring));
    return [name, node];
  });
  const show = (name, scoring) => {
    buttons.forEach(([other, node]) => node.setAttribute("aria-pressed", String(other === name)));
    put(place, ...scored(scoring, found));
  };
  show(...scorings[0]);
  return [
    el("h2", {}, "Label by label"),
    scorings.length > 1 ? el("div", { class: "ts-tabs", role: "group", "aria-label": "Before or after training" }, ...buttons.map(([, node]) => node)) : null,
    place,
  ];
}

/* Whether words are marked: then marks count, and not rows. */
const ofMarks = (scoring) => Number.isInteger(scoring.marks);

function scored(scoring, { labels, left_out }) {
  return [
    table(scoring.labels, left_out, ofMarks(scoring)),
    ...(ofMarks(scoring) ? [el("h3", {}, "Which marks are wrong"), ...wrong(scoring)] : []),
    // Of several labels none is taken for another one.
    ...(scoring.several || ofMarks(scoring) ? [] : [el("h3", {}, "Which label is taken for which"), ...(scoring.grid.length ? grid(scoring.grid, labels) : mistakes(scoring))]),
  ];
}

function table(labels, leftOut, marked) {
  const unit = marked ? "marks" : "rows";
  const lines = labels.map((one, place) => {
    const line = el("tr", {}, el("th", { scope: "row" }, one.label || "(empty)"), el("td", {}, count(one.rows)), ...[one.precision, one.recall, one.f1].map(rate));
    line.hidden = place >= AT_FIRST;
    return line;
  });
  const all = el("button", { class: "ts-link", type: "button" }, `Show all ${count(labels.length)} labels`);
  all.addEventListener("click", () => {
    const next = lines[AT_FIRST];
    lines.forEach((line) => { line.hidden = false; });
    all.remove();
    next.tabIndex = -1;
    next.focus();
  });
  return el(
    "div",
    { class: "ts-stack" },
    framed("Precision, recall and F1 of each label", "ts-labels", heads(["Label", marked ? "Marks" : "Rows", "Precision", "Recall", "F1"].map((name) => [name])), lines),
    lines.length > AT_FIRST ? all : null,
    leftOut ? el("p", { class: "ts-quiet" }, `${count(leftOut)} more with fewer ${unit} are not told singly.`) : null,
    el(
      "p",
      { class: "ts-quiet" },
      (marked
        ? "The weakest stand first. Precision: of the marks that it set, the share that are right in begin, end and label. Recall: of the expected marks, the share that it set. "
        : "The weakest stand first. Precision: of the rows that got the label, the share that have it. Recall: of the rows that have it, the share that got it. ")
        + "F1: the harmonic mean of both. Below each its 95\u00a0% interval: by Wilson, for F1 carried over from the share that is right of all "
        + `${unit} that ${marked ? "are expected or set" : "have the label or got it"}.`,
    ),
  );
}

function rate(found) {
  if (!found) return el("td", {}, "–");
  return el("td", {}, share(found.value), el("small", {}, between(found.low, found.high)));
}

/* Every pair of labels. Columns are numbered, since many names beside each other fit no screen; a screen reader says the name. */
function grid(cells, labels) {
  const lines = cells.map((line, expected) => {
    const rows = line.reduce((sum, value) => sum + value, 0);
    const values = line.map((value, answer) => {
      const node = el("td", { class: expected === answer ? "ts-right" : null }, count(value));
      node.style.setProperty("--ts-share", `${Math.round(rows ? (42 * value) / rows : 0)}%`);
      if (!value) node.classList.add("ts-quiet");
      return node;
    });
    return el("tr", {}, el("th", { scope: "row" }, el("span", { class: "ts-number", "aria-hidden": "true" }, `${expected + 1}`), labels[expected] || "(empty)"), ...values);
  });
  const names = labels.map((label, place) => [el("span", { "aria-hidden": "true" }, `${place + 1}`), el("span", { class: "ts-unseen" }, `answered ${label || "(empty)"}`)]);
  return [
    framed("Rows by expected label and answer", "ts-grid", heads([["Expected"], ...names]), lines),
    el("p", { class: "ts-quiet" }, "Rows of each expected label, by the answer they got; answers have the numbers of the labels. What lies on the diagonal is right."),
  ];
}

function wrong({ mistakes: list, mistaken, marks }) {
  if (!list.length) return [el("p", {}, marks ? "Every mark is as expected." : "Nothing is marked, as expected.")];
  const lines = list.map(({ expected, answer, rows, of }) =>
    el("tr", {}, el("th", { scope: "row" }, expected), el("td", {}, answer), el("td", {}, `${count(rows)} of ${count(of)}`)));
  const note = mistaken > list.length ? `The ${list.length} most frequent of ${count(mistaken)} kinds of mistakes. ` : "";
  return [
    framed("Marks that are wrong, by what was expected", "ts-mistakes", heads([["Expected"], ["Got"], ["Marks"]]), lines),
    el("p", { class: "ts-quiet" }, `${note}Other edges: it marked some of the words, or more than these. (no mark): nothing is marked there.`),
  ];
}

function mistakes({ mistakes: list, mistaken }) {
  if (!list.length) return [el("p", {}, "Every held-out row got its label.")];
  const lines = list.map(({ expected, answer, rows, of }) =>
    el("tr", {}, el("th", { scope: "row" }, expected || "(empty)"), el("td", {}, answer || "(empty)"), el("td", {}, `${count(rows)} of ${count(of)}`)));
  const note = mistaken > list.length ? `The ${list.length} most frequent of ${count(mistaken)} different mistakes. ` : "";
  return [
    framed("Labels that are taken for others most often", "ts-mistakes", heads([["Expected"], ["Answered"], ["Rows"]]), lines),
    el("p", { class: "ts-quiet" }, `${note}Of ${list.length === 1 ? "this pair" : "these pairs"}, look whether the labels mean the same.`),
  ];
}

const heads = (names) => el("thead", {}, el("tr", {}, ...names.map((parts) => el("th", { scope: "col" }, ...parts))));

function framed(name, kind, head, lines) {
  return el("div", { class: `ts-scroll ${kind}`, tabindex: "0", role: "region", "aria-label": name }, el("table", {}, el("caption", { class: "ts-unseen" }, name), head, el("tbody", {}, ...lines)));
}
