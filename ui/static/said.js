/* What a person says of a run (name, note, tags), and its settings kept as a preset. Drawn when the run has told its state. */

import { ask, el, found, put } from "./dom.js";
import { keepFocus } from "./focus.js";
import { telling } from "./notify.js";

export async function said() {
  // Listening begins before the place is there: the run's view may tell its state first.
  const view = { shown: null };
  document.addEventListener("ts-run-settled", ({ detail }) => settle(view, detail));
  view.place = await found("ts-said");
  if (view.waiting) settle(view, view.waiting);
}

function settle(view, detail) {
  view.waiting = detail;
  if (!view.place) return;
  const { summary } = detail;
  view.tell ??= el("div", {});
  view.told ??= el("div", { class: "ts-said-told" });
  view.form ??= el("details", {});
  put(view.tell, telling(summary));
  tell(view, summary);
  // A form that somebody writes in is left alone.
  if (view.shown !== summary.id) form(view, summary);
  view.shown = summary.id;
  if (!view.form.isConnected) put(view.place, view.tell, view.told, view.form);
}

function tell(view, { note, tags }) {
  put(view.told, note ? el("p", {}, note) : null, tags.length ? el("div", { class: "ts-runs-tags" }, ...tags.map(link)) : null);
  view.told.hidden = !note && !tags.length;
}

const link = (tag) => el("a", { class: "ts-tag", href: `?runs&tag=${encodeURIComponent(tag)}` }, tag);

function form(view, summary) {
  const field = (id, label, input, help) => {
    input.id = id;
    if (help) input.setAttribute("aria-describedby", `${id}-help`);
    return el("div", { class: "ts-said-field" }, el("label", { for: id }, label), input, help ? el("span", { id: `${id}-help`, class: "ts-second-line" }, help) : null);
  };
  const name = el("input", { type: "text", maxlength: 80, autocomplete: "off", value: summary.name });
  const note = el("textarea", { rows: 3, maxlength: 4000 });
  note.value = summary.note;
  const tags = el("input", { type: "text", maxlength: 400, autocomplete: "off", value: summary.tags.join(", ") });
  const says = el("span", { role: "status", class: "ts-quiet" });
  const save = el("button", { class: "ts-button", type: "button" }, "Save");
  save.addEventListener("click", () => act(save, says, async () => {
    const kept = await ask(`runs/${summary.id}/said`, "POST", { name: name.value, note: note.value, tags: tags.value.split(",") });
    name.value = kept.name;
    tags.value = kept.tags.join(", ");
    tell(view, kept);
    const title = document.querySelector("#ts-run .ts-title");
    if (title) title.textContent = kept.name;
    document.title = `${kept.name}, Tunesmith`;
    document.dispatchEvent(new Event("ts-run-changed"));
    return "Saved.";
  }));
  const preset = el("input", { type: "text", maxlength: 60, autocomplete: "off", placeholder: "such as Small and quick" });
  const presetSays = el("span", { role: "status", class: "ts-quiet" });
  const keep = el("button", { class: "ts-button", type: "button" }, "Save as a preset");
  keep.addEventListener("click", () => act(keep, presetSays, async () => {
    const kept = await ask(`runs/${summary.id}/preset`, "POST", { name: preset.value });
    preset.value = "";
    return ["Saved. ", el("a", { href: `?preset=${encodeURIComponent(kept.name)}` }, `Start a run with ${kept.name}`), ", now or later from ", el("a", { href: "?runs" }, "all runs"), "."];
  }));
  put(
    view.form,
    el("summary", {}, "Name, note and tags"),
    el(
      "div",
      { class: "ts-said" },
      field("ts-said-name", "Name", name),
      field("ts-said-note", "Note", note, "What you want to remember of this run."),
      field("ts-said-tags", "Tags", tags, "With commas between them. Runs can be filtered by them."),
      el("div", { class: "ts-said-acts" }, save, says),
      el("div", { class: "ts-said-row" }, field("ts-said-preset", "These settings as a preset", preset, "All but data and name, to be used again with other data."), keep),
      presetSays,
    ),
  );
}

async function act(button, says, work) {
  const back = keepFocus();
  button.disabled = true;
  put(says);
  try {
    const told = await work();
    put(says, ...[told].flat());
  } catch (error) {
    put(says, error.problem ? `${error.problem} ${error.fix}` : "The server does not answer. Nothing was saved.");
  }
  button.disabled = false;
  back();
}
