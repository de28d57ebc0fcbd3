/* Two runs side by side: which is better or whether that is noise, figures, settings, both curves, rows that differ. */

import { smoothed, thinned, ticks } from "./curve.js";
import { ask, between, count, el, figure, found, loss, put, size, span } from "./dom.js";

const HEIGHT = 260, LEFT = 44, RIGHT = 26, TOP = 10, BOTTOM = 26;
const SIDES = ["A", "B"], MOST_ROWS = 10;

export async function compare(ids) {
  const place = await found("ts-compare");
  // Not before: Gradio writes its own when it begins to draw.
  document.title = "Compare two runs, Tunesmith";
  const head = el("h1", {}, "Compare two runs");
  const back = el("p", {}, el("a", { href: "?runs" }, "All runs"));
  try {
    const answer = await ask(`compare?runs=${encodeURIComponent(ids)}`);
    const part = (...inner) => el("section", { class: "ts-stack" }, ...inner);
    put(
      place,
      el("div", { class: "ts-stack" }, head, el("ul", { class: "ts-sides", "aria-label": "Runs" }, ...answer.runs.map(side))),
      part(el("p", { class: "ts-lead" }, answer.sentence), el("p", { class: "ts-quiet" }, answer.data)),
      part(el("h2", {}, "What came of them"), figures(answer.runs)),
      part(...settings(answer.settings)),
      part(...curves(answer.runs, Math.max(280, Math.min(960, place.clientWidth)))),
      part(...rows(answer)),
      back,
    );
  } catch (error) {
    put(place, head, el("p", {}, error.problem ? `${error.problem} ${error.fix}` : "The server does not answer. Reload the page to try again."), back);
  }
}

function mark(i) {
  return el("span", { class: `ts-side-mark ${i ? "ts-side-b" : ""}` }, SIDES[i]);
}

function side({ summary }, i) {
  const what = [summary.model, [summary.objective, summary.tuner].filter(Boolean).join(" × "), summary.data].filter(Boolean).join(", ");
  return el("li", {}, mark(i), el("a", { href: `?run=${summary.id}` }, summary.name), el("span", { class: "ts-second-line" }, what));
}

function grid(label, heads, lines) {
  const head = el("tr", {}, ...heads.map((name, i) => el("th", { scope: "col" }, i ? mark(i - 1) : name)));
  const body = lines.map(([name, ...values]) => el("tr", {}, el("th", { scope: "row" }, name), ...values.map((value) => el("td", {}, value))));
  return el("div", { class: "ts-scroll", tabindex: "0", role: "region", "aria-label": label }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}

function figures(runs) {
  const scored = (values, name, unit) => {
    if (!values || values[name] === undefined || values[name] === null) return "–";
    const low = values[`${name}_low`], high = values[`${name}_high`], told = figure(values[name], unit);
    return low === undefined ? told : `${told} (${between(low, high, unit)})`;
  };
  const line = (name, tell) => [name, ...runs.map(tell)];
  const known = (value, write) => (value === null || value === undefined ? "–" : write(value));
  const titles = [...new Set(runs.map((run) => run.measure.title))].join(" / ");
  return grid("What came of them", ["", ...SIDES], [
    line(`${titles} before`, (run) => scored(run.before, run.measure.name, run.measure.unit)),
    line(`${titles} after, with its 95 % interval`, (run) => scored(run.after, run.measure.name, run.measure.unit)),
    line("Held-out loss after", (run) => scored(run.after, "loss", "nats")),
    line("Training time", (run) => known(run.summary.seconds, span)),
    line("Most memory", (run) => known(run.summary.memory_bytes, size)),
    line("Size of the result", (run) => known(run.summary.artifact_bytes, size)),
    line("Weights that learned", (run) => known(run.trainable_parameters, count)),
  ]);
}

function settings(list) {
  const head = el("h2", {}, "Settings that differ");
  if (!list.length) return [head, el("p", { class: "ts-quiet" }, "None. The two differ in nothing but what chance or another machine made of them.")];
  const told = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : { true: "on", false: "off" }[value] ?? String(value));
  return [head, grid("Settings that differ", ["Setting", ...SIDES], list.map(({ title, place, a, b }) => [[el("span", {}, title), el("span", { class: "ts-second-line" }, place)], told(a), told(b)].map((cell) => (Array.isArray(cell) ? el("span", {}, ...cell) : cell))))];
}

/* Both losses in one picture with one scale: training smoothed, held-out dashed. */
function curves(runs, width) {
  const head = el("h2", {}, "Loss by step");
  const shown = runs.map((run) => ({ total: run.total_steps || 1, train: run.train.map(point), held: run.held.map(point) }));
  if (!shown.some((run) => run.train.length)) return [head, el("p", { class: "ts-quiet" }, "Neither has made a step.")];
  const total = Math.max(...shown.map((run) => run.total));
  for (const run of shown) run.smooth = run.train.length ? smoothed(run.train, run.total) : [];
  const top = 1.04 * Math.max(...shown.flatMap((run) => [...run.smooth, ...run.held]).map((p) => p.loss)) || 1;
  const x = (step) => LEFT + (step / total) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const path = (points) => points.map((p, i) => `${i ? "L" : "M"}${x(p.step).toFixed(1)} ${y(p.loss).toFixed(1)}`).join("");
  const ends = shown.map(({ smooth }) => (smooth.length ? y(smooth.at(-1).loss) + 4 : -99));
  if (Math.abs(ends[0] - ends[1]) < 14) ends[ends[0] < ends[1] ? 0 : 1] -= 14; // the names stand above each other
  const lines = shown.flatMap(({ smooth, held }, i) => {
    const kind = `ts-line-${SIDES[i].toLowerCase()}`, last = smooth.at(-1);
    return [
      smooth.length ? el("path", { d: path(thinned(smooth, total)), class: kind }) : null,
      held.length > 1 ? el("path", { d: path(held), class: `${kind} ts-line-held` }) : null,
      last ? el("text", { x: x(last.step) + 6, y: ends[i], class: "ts-line-name" }, SIDES[i]) : null,
    ];
  });
  const rules = [
    ...ticks(top, 5).flatMap((value) => [el("line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value), class: "ts-grid" }), el("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, String(value))]),
    ...ticks(total, width < 500 ? 4 : 7).filter(Number.isInteger).map((step) => el("text", { x: x(step), y: HEIGHT - 6, "text-anchor": step ? (x(step) > width - 40 ? "end" : "middle") : "start" }, count(step))),
  ];
  const svg = el("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": shown.map(course).join(" ") });
  svg.append(...[...rules, ...lines].filter(Boolean));
  const keys = [el("span", { class: "ts-key-a" }, "A, training"), el("span", { class: "ts-key-b" }, "B, training")];
  if (shown.some((run) => run.held.length > 1)) keys.push(el("span", { class: "ts-key-dashed" }, "Held-out"));
  return [head, el("figure", { class: "ts-curve" }, el("figcaption", {}, ...keys, "over steps; lower is better; training loss is smoothed"), svg)];
}

const point = ([step, value]) => ({ step, loss: value });

function course({ train, held }, i) {
  if (!train.length) return `${SIDES[i]} has made no step.`;
  const checks = held.length ? `, held-out loss ${loss(held[0].loss)} to ${loss(held.at(-1).loss)}` : "";
  return `${SIDES[i]}: training loss ${loss(train[0].loss)} to ${loss(train.at(-1).loss)} at step ${count(train.at(-1).step)}${checks}.`;
}

function rows({ rows: all, counts }) {
  const differing = counts.A + counts.B + counts.other;
  if (!differing) return counts.alike ? [el("h2", {}, "Rows that differ"), el("p", { class: "ts-quiet" }, `None: both answered ${count(counts.alike)} rows alike.`)] : [];
  const kinds = [["A", "Better in A"], ["B", "Better in B"], ["", "Neither better"]];
  const list = el("ol", { class: "ts-rows" }), note = el("p", { class: "ts-quiet", role: "status" }), further = el("div", {});
  const many = (name) => counts[name || "other"];
  const buttons = kinds.map(([name, title]) => {
    const node = el("button", { class: "ts-tab", type: "button" }, `${title} `, el("span", {}, count(many(name))));
    node.disabled = !many(name);
    node.addEventListener("click", () => show(name));
    return [name, node];
  });
  const show = (name) => {
    buttons.forEach(([other, node]) => node.setAttribute("aria-pressed", String(other === name)));
    const some = all.filter((row) => row.better === name);
    const more = el("button", { class: "ts-button", type: "button" }, "Show more");
    const reveal = (most) => {
      const shown = Math.min(most, some.length);
      put(list, ...some.slice(0, shown).map(row));
      note.textContent = shown < many(name) ? `${count(shown)} of ${count(many(name))} are shown.` : "";
      put(further, shown < some.length ? more : null);
      more.onclick = () => {
        reveal(most + MOST_ROWS);
        list.children[shown]?.querySelector("p").focus();
      };
    };
    reveal(MOST_ROWS);
  };
  show(kinds.find(([name]) => many(name))[0]);
  const alike = counts.alike ? el("p", { class: "ts-quiet" }, `${count(counts.alike)} more were answered alike.`) : null;
  return [el("h2", {}, "Rows that differ"), el("div", { class: "ts-tabs", role: "group", "aria-label": "Which rows" }, ...buttons.map(([, node]) => node)), note, list, further, alike].filter(Boolean);
}

function row(found) {
  const said = [["Expected", found.expected], ["A", found.a], ["B", found.b]];
  return el(
    "li",
    {},
    el("div", { class: "ts-prompt" }, el("small", {}, `Row ${count(found.row)}`), el("p", { class: "ts-clamped", tabindex: "-1" }, found.prompt)),
    el("dl", {}, ...said.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("p", {}, text.trim() ? text : "(nothing)"))))),
  );
}
