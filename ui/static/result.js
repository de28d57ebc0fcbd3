/* What a run came to: the verdict, scores with their intervals, the rows that changed, what to try next. */

import { between, count, el, figure, loss, share, size, span } from "./dom.js";

/* What further scores before training are called; as engine/judging/measures.py. */
const FURTHER = { teacher: "Teacher", "training mean": "Always the training mean", "known words": "Known words alone" };

const LONG = 280;

/* result: figures of a finished run, else null. */
export function verdict(found, result) {
  return [
    el("h2", {}, found.headline),
    ...found.sentences.map((sentence) => el("p", {}, sentence)),
    result && result.talks ? talk("Compare base and tuned: talk to both", ".ts-talk") : null,
    result && result.labels ? talk("Try it: a text of your own", ".ts-try") : null,
    ...(result ? scores(found, result) : []),
  ];
}

/* The link by which the talk is found: it stands below the rows, and its box for a text is what one wants to be in. */
function talk(words, place) {
  const link = el("a", { class: "ts-button", href: "#ts-talk" }, words);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const box = document.querySelector(`${place} .ts-ask textarea`);
    box?.focus({ preventScroll: true });
    box?.closest(place).scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  });
  return el("p", {}, link);
}

/* What learned, or was made. */
function what({ cross_validation }, result) {
  const { merged, trainable_parameters, total_parameters } = result;
  if (cross_validation) return fitted(cross_validation, result);
  if (merged) return `Nothing learned; an addition of ${count(trainable_parameters)} weights was made of those of ${count(Object.keys(merged).length)} runs`;
  const learned = (100 * trainable_parameters) / total_parameters;
  return `${count(trainable_parameters)} of ${count(total_parameters)} weights learned (${learned.toPrecision(2)} %)`;
}

/* Of a classifier on features: which it is, and why that one. */
function fitted({ chosen, accuracy, rows, validation_rows }, { trainable_parameters }) {
  const seen = count(rows + (validation_rows || 0));
  const why = accuracy[chosen] === undefined ? "" : `, right for ${share(accuracy[chosen])} of ${seen} rows that it had not learned from when it was chosen`;
  return `The model stayed as it is. A classifier of ${count(trainable_parameters)} numbers was fitted (${chosen || "see the log"}${why})`;
}

function scores(found, { metrics, measures, ...result }) {
  const cost = el(
    "p",
    { class: "ts-quiet" },
    `${what(metrics, result)}, `
      + `in ${span(result.seconds)}, with ${size(result.peak_memory_bytes)} of memory at its peak. `
      + `The result takes ${size(result.artifact_bytes)}.`,
  );
  if (!metrics.after) return [cost];
  const scored = [
    ["Before", metrics.before],
    ...Object.entries(metrics.baselines || {}).map(([name, values]) => [FURTHER[name] || `Before, ${name}`, values]),
    ...Object.entries(metrics.parts || {}).map(([id, values]) => [`${result.merged?.[id] || id} alone`, values]),
    [result.merged ? "Merged" : "After", metrics.after],
  ].filter(([, values]) => values);
  // Where the loss had to tell, no answer was exact: then the nearest score with a length is that of words.
  const main = found.measure === "loss" && metrics.after.word_f1 !== undefined ? "word_f1" : metrics.main;
  const { title, help, unit } = measures[main] || { title: main, help: "the main score" };
  return [
    el("h3", {}, title),
    bars(scored.filter(([, values]) => values[main] !== undefined), main, unit),
    el(
      "p",
      { class: "ts-quiet" },
      `${title} ${unit === "bits" ? "are" : "is"} ${help}. Measured on ${count(metrics.rows)} held-out rows, which it did not learn from. `
        + "The thin bar is the 95 % interval: another set of rows like these would most likely score within it.",
    ),
    el("details", {}, el("summary", {}, "All scores"), table(scored, measures)),
    metrics.models ? sizes(metrics.models) : null,
    cost,
  ];
}

function bars(scored, main, unit) {
  // Shares fill their track at 100 %; what has no upper end is drawn beside the largest.
  const whole = unit === "share" ? 1 : Math.max(...scored.map(([, values]) => values[`${main}_high`] ?? values[main]));
  const list = el("dl", { class: "ts-scores" });
  for (const [name, values] of scored) {
    const low = values[`${main}_low`], high = values[`${main}_high`];
    const fill = el("i"), whisker = el("b");
    fill.style.width = `${(100 * values[main]) / whole}%`;
    if (low !== undefined) Object.assign(whisker.style, { left: `${(100 * low) / whole}%`, width: `${(100 * (high - low)) / whole}%` });
    list.append(
      el("dt", {}, name),
      el("div", { class: `ts-track ${name === "After" || name === "Merged" ? "ts-after" : ""}`, "aria-hidden": "true" }, fill, low === undefined ? null : whisker),
      el("dd", {}, figure(values[main], unit), " ", low === undefined ? null : el("small", {}, `(${between(low, high, unit)})`)),
    );
  }
  return list;
}

/* Of a run with a teacher: how large each model is, and how fast it read the held-out rows. */
function sizes(models) {
  const named = [["Teacher", models.teacher], ["Before", models.before], ["After", models.after]].filter(([, one]) => one);
  const lines = named.map(([name, one]) => el(
    "tr",
    {},
    el("th", { scope: "row" }, name),
    el("td", {}, count(one.parameters)),
    el("td", {}, one.tokens_per_second ? count(Math.round(one.tokens_per_second)) : "–"),
  ));
  const heads = ["Model", "Weights", "Tokens a second"].map((head) => el("th", { scope: "col" }, head));
  return el(
    "div",
    { class: "ts-sizes" },
    el("h3", {}, "Size and speed"),
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...lines)),
    el("p", { class: "ts-quiet" }, "Speed is that of reading the held-out rows on this machine, padding aside, each with its own tokenizer."),
  );
}

function table(scored, measures) {
  const cell = (values, name, unit) => {
    if (values[name] === undefined || values[name] === null) return "–";
    if (!(`${name}_low` in values)) return loss(values[name]);
    return `${figure(values[name], unit)} (${between(values[`${name}_low`], values[`${name}_high`], unit)})`;
  };
  const lines = Object.entries(measures).map(([name, { title, help, unit }]) => [
    el("th", { scope: "row" }, title, ": ", el("span", { class: "ts-quiet" }, help)),
    ...scored.map(([, values]) => el("td", {}, cell(values, name, unit))),
  ]);
  return el(
    "div",
    { class: "ts-scroll", tabindex: "0", role: "region", "aria-label": "All scores" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...["Score", ...scored.map(([name]) => name)].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...lines.map((cells) => el("tr", {}, ...cells))),
    ),
  );
}

/* Rows that got better, got worse, or stayed wrong: one kind at a time, the most telling of it. */
export function rows(changes) {
  if (!changes) return [];
  const kinds = [["better", "Better"], ["worse", "Worse"], ["still_wrong", "Still wrong"]];
  const first = kinds.map(([name]) => name).find((name) => changes[name].length);
  if (!first) return [];
  const list = el("ol", { class: "ts-rows" });
  const note = el("p", { class: "ts-quiet", role: "status" });
  const buttons = kinds.map(([name, title]) => {
    const node = el("button", { class: "ts-tab", type: "button" }, `${title} `, el("span", {}, count(changes.counts[name])));
    node.disabled = !changes[name].length;
    node.addEventListener("click", () => show(name));
    return [name, node];
  });
  const show = (name) => {
    buttons.forEach(([other, node]) => node.setAttribute("aria-pressed", String(other === name)));
    const all = changes.counts[name], shown = changes[name].length;
    note.textContent = shown < all ? `The ${shown} most telling of ${count(all)}.` : "";
    list.replaceChildren(...changes[name].map(change));
  };
  show(first);
  return [
    el("h2", {}, "What became of the held-out rows"),
    el("div", { class: "ts-tabs", role: "group", "aria-label": "Which rows" }, ...buttons.map(([, node]) => node)),
    note,
    list,
    changes.counts.right ? el("p", { class: "ts-quiet" }, `${count(changes.counts.right)} more were right before and after.`) : null,
  ];
}

function change(row) {
  if (row.marks) return changedMarks(row);
  // A text that is read has nothing that is expected of it.
  const said = [...(row.expected ? [["Expected", row.expected]] : []), ["Before", row.before], ["After", row.after]];
  return el(
    "li",
    {},
    el("div", { class: "ts-prompt" }, el("small", {}, `Row ${count(row.row)}`), folded(row.prompt)),
    el("dl", {}, ...said.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, folded(text))))),
  );
}

/* A text with its marks as they are expected, and as they were set before and after. */
function changedMarks({ row, prompt, marks }) {
  const said = [["Expected", marks.expected], ["Before", marks.before], ["After", marks.after]];
  return el(
    "li",
    { class: "ts-marks" },
    el("small", {}, `Row ${count(row)}`),
    el("dl", {}, ...said.map(([name, own]) => el("div", {}, el("dt", {}, name), el("dd", {}, own.length ? el("p", {}, ...marked(prompt, own)) : el("p", { class: "ts-quiet" }, "(nothing is marked)"))))),
  );
}

/* The pieces of a text, each mark with its label in words beside it. Python has counted whole characters, not halves. */
export function marked(text, marks) {
  const letters = Array.from(text), pieces = [];
  let at = 0;
  for (const [begin, end, label] of marks) {
    if (end > letters.length) break;
    pieces.push(letters.slice(at, begin).join(""), el("mark", { class: "ts-marked" }, `${letters.slice(begin, end).join("")} `, el("b", {}, label)));
    at = end;
  }
  return [...pieces, letters.slice(at).join("")];
}

/* A text that is cut where it is long, with a button for the rest. */
function folded(text) {
  if (!text.trim()) return el("p", { class: "ts-quiet" }, "(nothing)");
  const node = el("p", {}, text);
  if (text.length <= LONG && text.split("\n").length <= 6) return node;
  node.classList.add("ts-folded");
  const more = el("button", { class: "ts-link", type: "button", "aria-expanded": "false" }, "Show all");
  more.addEventListener("click", () => {
    const open = !node.classList.toggle("ts-folded");
    more.setAttribute("aria-expanded", String(open));
    more.textContent = open ? "Show less" : "Show all";
  });
  return el("div", {}, node, more);
}

/* The address of the form, filled in from a run, with some settings changed: {"training.epochs": 5}. */
export function again(id, changes = {}) {
  const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const sets = Object.entries(changes).map(([name, value]) => `&set=${encodeURIComponent(`${name}=${written(value)}`)}`);
  return `?from=${encodeURIComponent(id)}${sets.join("")}`;
}

/* first: whether the first of them is the next thing to do. */
export function advice(id, list, first, result) {
  const items = list.map(({ title, reason, changes }, place) => {
    const word = Object.keys(changes).length ? "Prepare this run" : "Open its data and settings";
    return el(
      "li",
      {},
      el("div", {}, el("h3", {}, title), el("p", { class: "ts-quiet" }, reason)),
      el("a", { class: `ts-button ${first && !place ? "ts-primary" : ""}`, href: again(id, changes), "aria-label": `${word}: ${title}` }, word),
    );
  });
  const other = el("a", { class: "ts-button", href: again(id) }, "Do it again with other settings");
  const open = items.length ? null : el("p", {}, "Nothing in this run's figures asks for a change.");
  return [el("h2", {}, "What to try next"), open, items.length ? el("ul", { class: "ts-next" }, ...items) : null, el("p", {}, other), ...onward(id, result)];
}

/* Runs that go on from this one's result. */
function onward(id, result) {
  const link = (text, told, changes) => el("li", {}, el("div", {}, el("h3", {}, text), el("p", { class: "ts-quiet" }, told)), el("a", { class: "ts-button", href: again(id, changes), "aria-label": `Prepare this run: ${text}` }, "Prepare this run"));
  const ways = [];
  const begins = { "model.id": `run:${id}`, ...(result?.onward ?? {}) };
  if (result?.goes_on) ways.push(link("Train what it added further", "The same addition goes on learning, from where it is now: more passes, or other rows.", { ...begins, "model.continued": true }));
  if (result?.on_top) ways.push(link("Train something new on top of it", "This result becomes a fixed base, and a new addition learns beside it; what it learned so far stays as it is.", begins));
  return ways.length ? [el("h2", {}, "Go on from here"), el("ul", { class: "ts-next" }, ...ways)] : [];
}
