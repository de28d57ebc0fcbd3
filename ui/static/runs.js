/* All runs: search, filters and order by the server, a page at a time; comparing two, deleting several; presets. */

import { ask, count, el, figure, found, put, size } from "./dom.js";
import { keepFocus } from "./focus.js";
import { STATES } from "./rail.js";

const MOST_MERGED = 8;
const LOOK_MS = 4000, TYPING_MS = 250;
const ACTIVE = ["queued", "running", "stopping"];
const COLUMNS = [
  ["name", "Name"],
  ["state", "State"],
  ["model", "Model and method"],
  ["data", "Data"],
  ["after", "Score"],
  ["seconds", "Time"],
  ["memory_bytes", "Memory"],
  ["artifact_bytes", "Size"],
  ["created", "Date"],
];
const DOWN_FIRST = ["after", "seconds", "memory_bytes", "artifact_bytes", "created"];
const DIRECTIONS = {
  created: { desc: "newest first", asc: "oldest first" },
  ...Object.fromEntries(DOWN_FIRST.slice(0, -1).map((name) => [name, { desc: "highest first", asc: "lowest first" }])),
};
const BY_LETTERS = { asc: "A to Z", desc: "Z to A" };
const AWAY = "The server does not answer. This page looks again by itself.";

export async function runs() {
  const place = await found("ts-runs");
  // Not before: Gradio writes its own when it begins to draw.
  document.title = "Runs, Tunesmith";
  const view = { asked: asked(), chosen: new Map(), answer: null, shown: "", turn: 0 };
  build(view, place);
  await look(view);
  // The key "/" leads here (shortcuts.js); the field can take the focus only now that it shows.
  if (window.location.hash === "#search") view.search.focus();
  presets(view);
}

/* What is looked for stands in the address, so that a reload and a link show the same. */
function asked() {
  const given = new URLSearchParams(window.location.search);
  const value = (name, other) => given.get(name) || other;
  return { search: value("search", ""), state: value("state", ""), tag: value("tag", ""), plan: value("plan", ""), sort: value("sort", "created"), order: value("order", "desc"), page: value("page", "0") };
}

function build(view, place) {
  view.search = el("input", { type: "search", id: "ts-runs-search", placeholder: "Name, note, tag, id or model", maxlength: 200, autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/" });
  view.search.value = view.asked.search;
  view.search.addEventListener("input", () => {
    clearTimeout(view.typing);
    view.typing = setTimeout(() => change(view, { search: view.search.value }), TYPING_MS);
  });
  view.state = el("select", { id: "ts-runs-state" });
  view.tag = el("select", { id: "ts-runs-tag" });
  view.order = el("select", { id: "ts-runs-order" });
  view.state.addEventListener("change", () => change(view, { state: view.state.value }));
  view.tag.addEventListener("change", () => change(view, { tag: view.tag.value }));
  view.order.addEventListener("change", () => {
    const [sort, order] = view.order.value.split(" ");
    change(view, { sort, order });
  });
  const field = (label, input, kind = "") => el("div", { class: `ts-runs-field ${kind}` }, el("label", { for: input.id }, label), input);
  view.tools = el("div", { class: "ts-runs-tools", role: "search" }, field("Search", view.search, "ts-runs-wide"), field("State", view.state), field("Tag", view.tag), field("Order", view.order, "ts-runs-order"));
  view.says = el("p", { class: "ts-quiet", role: "status" });
  view.whole = el("button", { class: "ts-button ts-small", type: "button" }, "Show all runs");
  view.whole.addEventListener("click", () => {
    change(view, { plan: "" });
    view.search.focus();
  });
  view.table = el("div", { class: "ts-scroll ts-runs-list" });
  view.pages = el("div", { class: "ts-runs-pages" });
  view.presets = el("section", { class: "ts-stack" });
  view.compare = el("button", { class: "ts-button", type: "button" }, "Compare");
  view.compare.addEventListener("click", () => window.location.assign(`?compare=${[...view.chosen.keys()].join(",")}`));
  view.merge = el("button", { class: "ts-button", type: "button" }, "Merge");
  view.merge.addEventListener("click", () => window.location.assign(`?merge=${[...view.chosen.keys()].join(",")}`));
  view.stop = el("button", { class: "ts-button", type: "button" }, "Stop");
  view.stop.addEventListener("click", () => stop(view));
  view.remove = el("button", { class: "ts-button ts-danger", type: "button" }, "Delete");
  view.remove.addEventListener("click", () => remove(view));
  view.many = el("span", { class: "ts-quiet" });
  view.acts = el("div", { class: "ts-acts" }, view.many, view.compare, view.merge, view.stop, view.remove);
  view.body = el("section", { class: "ts-stack" }, view.tools, view.says, view.whole, view.table, view.pages);
  view.title = el("h1", {}, "Runs");
  put(place, view.title, view.body, view.presets, view.acts);
  view.acts.hidden = view.body.hidden = true;
}

function change(view, changes) {
  const asked = { ...view.asked, page: "0", ...changes };
  view.asked = asked;
  const plain = { search: "", state: "", tag: "", plan: "", sort: "created", order: "desc", page: "0" };
  const told = Object.entries(asked).filter(([name, value]) => value && String(value) !== plain[name]);
  const query = told.map(([name, value]) => `&${name}=${encodeURIComponent(value)}`).join("");
  window.history.replaceState(null, "", `?runs${query}`);
  return look(view);
}

/* Ask for the page that is wanted. Answers that come too late are dropped. */
async function look(view) {
  clearTimeout(view.timer);
  const turn = (view.turn += 1);
  try {
    const answer = await ask(`history?${new URLSearchParams(view.asked)}`);
    if (turn !== view.turn) return;
    view.answer = answer;
    show(view);
  } catch (error) {
    if (turn === view.turn) say(view, error.problem ? `${error.problem} ${error.fix}` : AWAY);
  }
  later(view);
}

function later(view) {
  clearTimeout(view.timer);
  view.timer = setTimeout(() => glance(view), document.hidden ? 5 * LOOK_MS : LOOK_MS);
}

/* Only what may have changed: runs at work on this page. All is asked anew when the list itself is another. */
async function glance(view) {
  const turn = view.turn;
  try {
    const ids = (view.answer?.runs || []).filter((run) => ACTIVE.includes(run.state)).map((run) => run.id);
    const news = await ask(`history?of=${ids.join(",")}`);
    if (turn !== view.turn) return;
    if (!view.answer || news.mark !== view.answer.mark) return look(view);
    const known = new Map(news.runs.map((run) => [run.id, run]));
    view.answer.runs = view.answer.runs.map((run) => known.get(run.id) || run);
    show(view);
  } catch (error) {
    if (turn === view.turn) say(view, error.problem ? `${error.problem} ${error.fix}` : AWAY);
  }
  if (turn === view.turn) later(view);
}

function show(view) {
  const { runs, total } = view.answer;
  view.body.hidden = view.acts.hidden = !total;
  if (!total) return none(view);
  view.empty?.remove();
  filters(view);
  view.whole.hidden = !view.asked.plan;
  say(view, told(view.answer, view.asked.plan));
  const text = JSON.stringify([runs, view.asked.sort, view.asked.order]);
  if (text !== view.shown) {
    view.shown = text;
    const focused = document.activeElement?.dataset?.focus;
    put(view.table, table(view, runs));
    if (focused) view.table.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
  pages(view);
  chosen(view);
}

function none(view) {
  view.empty ??= el(
    "div",
    { class: "ts-stack" },
    el("p", { class: "ts-lead" }, "No runs yet."),
    el("p", { class: "ts-quiet" }, "A run is one training, from its data to its scores. All of yours will stand here, to be searched, compared and taken up again."),
    el("p", {}, el("a", { class: "ts-button ts-primary", href: "?" }, "Start with the sample or your own data")),
  );
  view.body.after(view.empty);
}

function say(view, text) {
  view.body.hidden = false;
  if (view.says.textContent !== text) view.says.textContent = text;
}

function told({ found, total, page, pages, runs }, plan) {
  if (plan) return `${count(found)} ${found === 1 ? "run" : "runs"} of the plan ${runs[0]?.stage?.name ?? ""}`.trim() + ".";
  const some = found === total ? `${count(total)} ${total === 1 ? "run" : "runs"}` : `${count(found)} of ${count(total)} runs`;
  return pages > 1 ? `${some}, page ${count(page + 1)} of ${count(pages)}.` : `${some}.`;
}

function filters(view) {
  const { states, tags } = view.answer;
  options(view.state, [["", "All"], ...Object.keys(STATES).filter((state) => states[state]).map((state) => [state, `${STATES[state]} (${count(states[state])})`])], view.asked.state);
  options(view.tag, [["", "All"], ...tags.map((tag) => [tag, tag])], view.asked.tag);
  options(view.order, orders(), `${view.asked.sort} ${view.asked.order}`);
  view.tag.parentElement.hidden = !tags.length && !view.asked.tag;
}

/* Every column in both directions, the usual one first. */
function orders() {
  return COLUMNS.flatMap(([name, title]) => Object.entries(DIRECTIONS[name] || BY_LETTERS).map(([order, words]) => [`${name} ${order}`, `${title}, ${words}`]));
}

function options(select, list, value) {
  if (value && !list.some(([name]) => name === value)) list.push([value, value]);
  const text = JSON.stringify(list);
  if (select.dataset.list !== text) {
    put(select, ...list.map(([name, title]) => el("option", { value: name }, title)));
    select.dataset.list = text;
  }
  select.value = value;
}

function table(view, runs) {
  if (!runs.length) return el("p", { class: "ts-quiet" }, "No run is like that. Search for less, or choose All.");
  const all = el("input", { type: "checkbox", "aria-label": "All on this page", "data-focus": "all" });
  all.checked = runs.every((run) => view.chosen.has(run.id));
  all.addEventListener("change", () => {
    runs.forEach((run) => choose(view, run, all.checked));
    view.table.querySelectorAll("tbody input").forEach((box) => (box.checked = all.checked));
    chosen(view);
  });
  const heads = COLUMNS.map(([name, title]) => {
    const now = view.asked.sort === name;
    const button = el("button", { type: "button", class: "ts-sort", "data-focus": `sort ${name}` }, title, el("span", { "aria-hidden": "true" }, now ? (view.asked.order === "desc" ? "↓" : "↑") : ""));
    button.addEventListener("click", () => change(view, { sort: name, order: now ? (view.asked.order === "desc" ? "asc" : "desc") : DOWN_FIRST.includes(name) ? "desc" : "asc" }));
    return el("th", { scope: "col", class: `ts-col-${name}`, role: "columnheader", "aria-sort": now ? (view.asked.order === "desc" ? "descending" : "ascending") : "none" }, button);
  });
  const head = el("tr", { role: "row" }, el("th", { scope: "col", role: "columnheader" }, el("label", { class: "ts-check" }, all)), ...heads);
  // The roles are those of a table anyway; on a phone, where it is drawn as cards, browsers would forget them.
  return el("table", { role: "table", "aria-label": "Runs" }, el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, ...runs.map((run) => line(view, run))));
}

function line(view, run) {
  const box = el("input", { type: "checkbox", "aria-label": `Select ${run.name}`, "data-focus": `box ${run.id}` });
  box.checked = view.chosen.has(run.id);
  box.addEventListener("change", () => {
    choose(view, run, box.checked);
    chosen(view);
  });
  const tags = run.tags.map((tag) => {
    const button = el("button", { type: "button", class: "ts-tag", "aria-label": `Only runs with the tag ${tag}`, "data-focus": `tag ${run.id} ${tag}` }, tag);
    button.addEventListener("click", () => change(view, { tag }));
    return button;
  });
  const cell = (name, ...inner) => el("td", { role: "cell", class: `ts-col-${name}` }, ...inner);
  return el(
    "tr",
    { role: "row", class: `ts-is-${run.state}` },
    el("td", { role: "cell", class: "ts-col-box" }, el("label", { class: "ts-check" }, box)),
    el("th", { scope: "row", role: "rowheader", class: "ts-col-name" }, el("a", { href: `?run=${run.id}`, class: "ts-runs-link", "data-focus": `run ${run.id}` }, run.name),
      run.stage ? stage(view, run) : null,
      run.note ? el("p", { class: "ts-runs-note" }, run.note.split("\n")[0]) : null,
      tags.length ? el("div", { class: "ts-runs-tags" }, ...tags) : null),
    cell("state", el("span", { class: "ts-dot", "aria-hidden": "true" }), el("span", {}, STATES[run.state] || run.state, run.state === "running" && run.percent !== null ? ` ${Math.round(run.percent)} %` : "")),
    cell("model", el("span", { title: run.model }, run.model.split("/").at(-1).replace(/^embedded:/, "")), el("span", { class: "ts-second-line" }, [run.objective, run.tuner].filter(Boolean).join(" × "))),
    cell("data", el("span", { class: "ts-clipped", title: run.data }, run.data)),
    cell("after", ...score(run)),
    cell("seconds", run.seconds === null ? "" : minutes(run.seconds)),
    cell("memory_bytes", run.memory_bytes === null ? "" : size(run.memory_bytes)),
    cell("artifact_bytes", run.artifact_bytes === null ? "" : size(run.artifact_bytes)),
    cell("created", el("time", { datetime: new Date(1000 * run.created).toISOString(), title: new Date(1000 * run.created).toLocaleString("en-GB") }, date(run.created))),
  );
}

/* Which stage of a plan a run is. One that is learned a second time has a title of its own. */
function stageOf({ title, place, count, name }) {
  return `${title === `Stage ${place}` ? `Stage ${place} of ${count}` : `${title} (${place} of ${count})`} in ${name}`;
}

/* Of a stage of a plan: which one, with the way to the plan's picture, and to its other runs. */
function stage(view, run) {
  const only = el("button", { type: "button", class: "ts-tag", "aria-label": `Only the runs of the plan ${run.stage.name}`, "data-focus": `plan ${run.id}` }, "Its runs");
  only.addEventListener("click", () => change(view, { plan: run.stage.plan }));
  const link = el("a", { href: `?run=${run.id}#ts-chain`, "data-focus": `stage ${run.id}` }, stageOf(run.stage));
  return el("div", { class: "ts-runs-stage" }, link, only);
}

function score(run) {
  if (run.after === null) return [];
  const after = figure(run.after, run.unit);
  const told = run.before === null ? after : `${figure(run.before, run.unit)} → ${after}`;
  return [told, el("span", { class: "ts-second-line" }, run.main)];
}

const minutes = (seconds) => (seconds < 60 ? `${Math.round(seconds)} s` : `${(seconds / 60).toFixed(seconds < 600 ? 1 : 0)} min`);

function date(seconds) {
  const day = new Date(1000 * seconds), now = new Date();
  if (day.toDateString() === now.toDateString()) return day.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return day.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...(day.getFullYear() === now.getFullYear() ? {} : { year: "numeric" }) });
}

function pages(view) {
  const { page, pages: most } = view.answer;
  const button = (text, to) => {
    const node = el("button", { class: "ts-button ts-small", type: "button" }, text);
    node.disabled = to < 0 || to >= most;
    node.addEventListener("click", async () => {
      const back = keepFocus(() => view.pages.querySelector(to < page ? "button:enabled" : "button:enabled:last-of-type") ?? view.pages.querySelector("button:enabled"));
      await change(view, { page: String(to) });
      view.says.scrollIntoView({ block: "nearest" });
      back();
    });
    return node;
  };
  if (most < 2) return put(view.pages);
  const text = JSON.stringify([page, most]);
  if (view.pages.dataset.shown === text && view.pages.childElementCount) return;
  view.pages.dataset.shown = text;
  put(view.pages, button("Newer", page - 1), el("span", { class: "ts-quiet" }, `Page ${count(page + 1)} of ${count(most)}`), button("Older", page + 1));
  if (view.asked.sort !== "created") [...view.pages.querySelectorAll("button")].forEach((node, i) => put(node, i ? "Next" : "Previous"));
}

function choose(view, run, on) {
  if (on) view.chosen.set(run.id, run);
  else view.chosen.delete(run.id);
}

/* What can be done with the runs that are checked, also with those on other pages. */
function chosen(view) {
  const many = view.chosen.size;
  view.compare.disabled = many !== 2;
  view.remove.disabled = !many;
  // A stage that waits for its turn is stopped with its plan.
  view.stop.disabled = ![...view.chosen.values()].some((run) => ["queued", "running"].includes(run.state) || (run.stage && run.state === "created"));
  const merges = [...view.chosen.values()].every((run) => run.merges);
  view.merge.disabled = many < 2 || many > MOST_MERGED || !merges;
  view.merge.title = merges ? "" : "Only finished runs with LoRA and its kin can be merged.";
  const told = { 0: "Check two runs to compare them, or some to merge, stop or delete them.", 1: "1 run checked. Check one more to compare or merge." }[many] || `${count(many)} runs checked.`;
  if (view.many.textContent !== told) view.many.textContent = told;
}

async function remove(view) {
  const ids = [...view.chosen.keys()], names = [...view.chosen.values()].map((run) => run.name);
  const which = ids.length === 1 ? `the run ${names[0]}` : `these ${count(ids.length)} runs`;
  if (!window.confirm(`Delete ${which}, with results and all files? They can't be brought back.${held(view)}`)) return;
  await doing(view, view.remove, "delete", "Nothing was deleted.");
}

/* What a plan loses by the runs that are checked, where that is not all of it. */
function held(view) {
  const counts = new Map();
  for (const { stage } of view.chosen.values()) if (stage) counts.set(stage.plan, [(counts.get(stage.plan)?.[0] ?? 0) + 1, stage.count, stage.name]);
  const parts = [...counts.values()].filter(([some, all]) => some < all);
  if (!parts.length) return "";
  const [some, all, name] = parts[0];
  return ` They are ${some} of the ${all} stages of the plan ${name}; what comes after a deleted stage does not start by itself.`;
}

async function stop(view) {
  const whole = [...view.chosen.values()].some((run) => run.stage);
  const what = `Stop ${view.chosen.size === 1 ? "this run" : "these runs"} at the next step, with a checkpoint?`;
  if (!window.confirm(what + (whole ? " Of a plan, whatever is at work stops, and the stages after it wait until it is resumed." : ""))) return;
  await doing(view, view.stop, "stop", "Nothing was stopped.");
}

/* Something with all runs that are checked; those with which it could be done are not checked any more. */
async function doing(view, button, act, nothing) {
  const back = keepFocus(() => view.title);
  button.disabled = true;
  let problem = "";
  try {
    const { kept } = await ask(`history/${act}`, "POST", { runs: [...view.chosen.keys()] });
    view.chosen = new Map([...view.chosen].filter(([id]) => kept.some((run) => run.id === id)));
    problem = kept.length ? `${kept[0].problem} ${kept[0].fix}${kept.length > 1 ? ` So it is with ${count(kept.length - 1)} more.` : ""}` : "";
  } catch (error) {
    problem = error.problem ? `${error.problem} ${error.fix}` : `The server does not answer. ${nothing}`;
  }
  document.dispatchEvent(new Event("ts-run-changed"));
  await look(view);
  if (problem) say(view, problem);
  back();
}

async function presets(view) {
  const list = await ask("presets").catch(() => []);
  if (!list.length && !view.answer?.total) return put(view.presets);
  const items = list.map((preset) => {
    const remove = el("button", { class: "ts-button ts-small ts-danger", type: "button", "aria-label": `Delete the preset ${preset.name}` }, "Delete");
    remove.addEventListener("click", async () => {
      if (!window.confirm(`Delete the preset ${preset.name}? Runs that were made with it stay as they are.`)) return;
      const back = keepFocus(() => view.presets.querySelector("h2"));
      await ask("presets/delete", "POST", { name: preset.name }).catch(() => null);
      await presets(view);
      back();
    });
    const use = el("a", { class: "ts-button ts-small", href: `?preset=${encodeURIComponent(preset.name)}`, "aria-label": `Start a run with the preset ${preset.name}` }, "Use");
    const what = [preset.model, [preset.objective, preset.tuner].filter(Boolean).join(" × ")].filter(Boolean).join(", ");
    return el("li", {}, el("div", {}, el("strong", {}, preset.name), el("span", { class: "ts-second-line" }, what)), use, remove);
  });
  const hint = "Settings that you want again, with other data. Save those of a run as a preset on its page, under Name, note and tags.";
  put(view.presets, el("h2", {}, "Presets"), items.length ? el("ul", { class: "ts-presets" }, ...items) : el("p", { class: "ts-quiet" }, hint));
}
