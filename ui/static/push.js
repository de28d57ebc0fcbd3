/* Sharing a finished run on the Hub: what would be sent, the form, the push while it goes, its end. */

import { address, ask, count, el, found, put, size } from "./dom.js";
import { keepFocus } from "./focus.js";

const POLL_MS = 1000, HIDDEN_MS = 5000;
const AWAY = "The server does not answer. The push itself goes on; this page looks again by itself.";
const TOKENS = "https://huggingface.co/settings/tokens";

export function push() {
  const view = { place: null, id: null, timer: 0, turn: 0, shown: "" };
  document.addEventListener("ts-run-settled", async ({ detail }) => {
    view.place ??= await found("ts-push");
    settle(view, detail);
  });
  document.addEventListener("visibilitychange", () => document.hidden || view.look?.());
}

async function settle(view, { id, summary }) {
  clearTimeout(view.timer);
  view.look = null;
  view.turn += 1;
  Object.assign(view, { id, shown: "" });
  if (summary.state !== "finished") return put(view.place);
  const turn = view.turn;
  const state = await ask(`runs/${id}/push/state`).catch(() => null);
  if (turn !== view.turn) return;
  if (state) return show(view, state);
  closed(view);
}

/* One quiet button until it is asked for. */
function closed(view) {
  const open = el("button", { class: "ts-button", type: "button" }, "Share on the Hub");
  open.addEventListener("click", () => busy(open, () => form(view), view));
  section(view, open);
}

async function form(view, state = null) {
  clearTimeout(view.timer);
  const offer = await ask(`runs/${view.id}/push`);
  const name = el("input", { type: "text", id: "ts-push-repo", maxlength: 96, spellcheck: "false", autocapitalize: "off", autocomplete: "off", value: state?.repo || offer.repo });
  const seen = choices("ts-push-seen", "Who can see it", [
    ["private", "Private", "Only you, or the members of your organisation."],
    ["public", "Public", "Everybody."],
  ], state && !state.private ? "public" : "private");
  const kinds = offer.kinds.map(({ merged, files }) => [
    String(merged),
    merged ? "Merged weights" : offer.form === "adapter" ? "Adapter" : "The weights that learned",
    `${amount(total(files))}. ${merged ? "A full model that loads by itself; merging takes a while first." : "Small; whoever uses it needs the base model, too."}`,
  ]);
  const kind = kinds.length > 1 ? choices("ts-push-kind", "What is sent", kinds, String(Boolean(state?.merged))) : null;
  const merged = () => (kind ? kind.value() === "true" : offer.kinds[0].merged);
  const list = el("ul", { class: "ts-push-files" });
  const summary = el("summary", {});
  const files = () => {
    const chosen = offer.kinds.find((known) => known.merged === merged()).files;
    summary.textContent = `Files that are sent: ${count(chosen.length)}, ${amount(total(chosen))}`;
    put(list, ...chosen.map(file));
  };
  kind?.node.addEventListener("change", files);
  files();
  const token = tokenField(view, offer);
  const go = el("button", { class: "ts-button ts-primary", type: "submit" }, "Push to the Hub");
  const leave = el("button", { class: "ts-button", type: "button" }, "Not now");
  leave.addEventListener("click", () => busy(leave, () => (state ? show(view, state) : closed(view)), view));
  const says = el("div", { role: "alert" });
  const fields = el("form", { class: "ts-push-form", novalidate: "" },
    field("Repository", name, "Owner and name, as in ada/bank-helper. A name alone goes under your own account."),
    seen.node, kind?.node, token?.node, account(view, offer, state),
    el("details", {}, summary, list),
    card(view, () => ({ repo: name.value.trim(), merged: merged() })),
    says,
    el("div", { class: "ts-push-acts" }, go, leave));
  fields.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = { repo: name.value.trim(), private: seen.value() === "private", merged: merged(), ...token?.given() };
    busy(go, async () => show(view, await send(`runs/${view.id}/push`, body)), view, says);
  });
  section(view, el("h2", {}, "Share on the Hub"), el("p", { class: "ts-quiet" },
    "Sends the result to huggingface.co, with a model card made from the records of this run. No row of your data goes along, no log, and no place on this machine."), fields);
  view.shown = "form";
  name.focus({ preventScroll: true });
}

/* A push that was asked for: how it stands, and what can be done. */
function show(view, state) {
  if (!state) return closed(view);
  ({ running, waiting, failed, done })[state.state](view, state);
  clearTimeout(view.timer);
  view.look = null;
  if (state.state !== "running") return;
  const turn = view.turn;
  view.look = async () => {
    clearTimeout(view.timer);
    let news = null;
    try {
      news = await ask(`runs/${view.id}/push/state`);
    } catch (error) {
      if (turn === view.turn) write(view.says, error.problem ? `${error.problem} ${error.fix}` : AWAY);
    }
    if (turn !== view.turn || view.shown !== "running") return;
    if (news) show(view, news);
    else view.timer = setTimeout(view.look, POLL_MS);
  };
  view.timer = setTimeout(view.look, document.hidden ? HIDDEN_MS : POLL_MS);
}

function running(view, state) {
  if (view.shown !== "running") {
    view.says = el("p", { role: "status" });
    view.fill = el("i");
    view.bar = el("div", { class: "ts-bar", role: "progressbar", "aria-label": "Sent to the Hub", "aria-valuemin": 0, "aria-valuemax": 100 }, view.fill);
    view.far = el("p", { class: "ts-quiet ts-push-far" });
    const end = el("button", { class: "ts-button", type: "button" }, "Stop the push");
    end.addEventListener("click", () => busy(end, async () => show(view, await send(`runs/${view.id}/push/stop`, {})), view));
    view.heading = el("h2", {});
    section(view, view.heading, view.says, view.bar, view.far, el("p", { class: "ts-quiet" }, "You can close this page; the push goes on."), el("div", { class: "ts-push-acts" }, end));
    view.shown = "running";
  }
  write(view.heading, `Pushing to ${state.repo}`);
  write(view.says, state.doing || "Starting.");
  const portion = state.bytes_total ? state.bytes_done / state.bytes_total : 0;
  view.fill.style.transform = `scaleX(${portion})`;
  view.bar.setAttribute("aria-valuenow", Math.round(100 * portion));
  const far = state.bytes_total ? `${state.files_done} of ${count(state.files_total)} files, ${amount(state.bytes_done)} of ${amount(state.bytes_total)}` : " ";
  write(view.far, far);
}

async function waiting(view, state) {
  await again(view, state, el("h2", {}, "Waiting for sign-in"), el("p", { role: "status" }, `The push to ${state.repo} begins as soon as there is a token of the Hub. The run is done and safe.`));
}

async function failed(view, state) {
  const note = el("div", { class: "ts-note ts-bad", role: "alert" }, el("p", {}, el("strong", {}, state.problem)), el("p", {}, state.fix));
  await again(view, state, el("h2", {}, `Not pushed to ${state.repo} yet`), note);
}

/* What goes on with a push that waits or failed: perhaps with a token, or into a repository that was there. */
async function again(view, state, ...said) {
  view.shown = state.state;
  section(view, ...said);
  let offer;
  try {
    offer = await ask(`runs/${view.id}/push`);
  } catch {
    return;
  }
  if (view.shown !== state.state) return;
  const asks = state.needs === "token" || !offer.token;
  const token = asks ? tokenField(view, { ...offer, token: null }) : null;
  const says = el("div", { role: "alert" });
  const form_ = el("form", { class: "ts-push-form", novalidate: "" }, token?.node, account(view, offer, state), says);
  const act = (text, kind, update) => {
    const node = el("button", { class: `ts-button ${kind}`, type: update ? "button" : "submit" }, text);
    if (update) node.addEventListener("click", () => goOn(node, { update }));
    return node;
  };
  const goOn = (node, more) => busy(node, async () => show(view, await send(`runs/${view.id}/push/go-on`, { ...token?.given(), ...more })), view, says);
  const main = state.needs === "update" ? act("Push into it as a new version", "ts-primary", true) : act("Go on", "ts-primary", false);
  form_.addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.needs !== "update") goOn(main, {});
  });
  const change = el("button", { class: "ts-button", type: "button" }, "Change");
  change.addEventListener("click", () => busy(change, () => form(view, state), view, says));
  form_.append(el("div", { class: "ts-push-acts" }, main, change));
  section(view, ...said, form_);
}

function done(view, state) {
  view.shown = "done";
  const known = /^https?:/.test(state.url || "");
  const link = known ? el("a", { href: state.url, rel: "noopener noreferrer", target: "_blank" }, state.repo) : state.repo;
  const more = el("button", { class: "ts-button", type: "button" }, "Push again");
  more.addEventListener("click", () => busy(more, () => form(view, state), view));
  section(view, el("h2", {}, "On the Hub"), el("p", { role: "status" }, link, state.private ? ", private: only you and those you share it with can see it." : ", public: everybody can see it."),
    el("div", { class: "ts-push-acts" }, more));
}

/* Where no token is known. It is sent once and never written into the page again. */
function tokenField(view, offer) {
  if (offer.token) return null;
  const input = el("input", { type: "password", id: "ts-push-token", autocomplete: "off", spellcheck: "false", maxlength: 4000 });
  const page = el("a", { href: TOKENS, rel: "noopener noreferrer", target: "_blank" }, "huggingface.co/settings/tokens");
  const where = offer.can_sign_in ? "Or sign in with Hugging Face in the settings. " : "";
  const help = [where, "One that may write, from ", page, ". It stays in the memory of this server for you alone until you forget it or the server ends, and is written nowhere. Left empty, the push waits."];
  return { node: field("Token of the Hub", input, ...help), given: () => (input.value.trim() ? { token: input.value.trim() } : {}) };
}

/* Who is signed in, and how a typed token is forgotten. */
function account(view, offer, state) {
  if (!offer.token) return null;
  const who = offer.name ? `Signed in to the Hub as ${offer.name}.` : "There is a token of the Hub; whose it is could not be asked.";
  if (offer.token !== "typed") return el("p", { class: "ts-quiet" }, who);
  const forget = el("button", { class: "ts-button", type: "button" }, "Forget the token");
  forget.addEventListener("click", () => busy(forget, async () => {
    await send("hub-token/forget", {});
    await form(view, state);
  }, view));
  return el("div", { class: "ts-push-acts" }, el("p", { class: "ts-quiet" }, who), forget);
}

function card(view, chosen) {
  const text = el("pre", { class: "ts-text", tabindex: "0", "aria-label": "Model card" });
  const node = el("details", {}, el("summary", {}, "Model card"), text);
  node.addEventListener("toggle", async () => {
    if (!node.open) return;
    text.textContent = "Writing it…";
    const query = new URLSearchParams({ repo: chosen().repo, merged: chosen().merged });
    const answer = await fetch(address(`runs/${view.id}/push/card?${query}`)).catch(() => null);
    if (answer?.ok) text.textContent = await answer.text();
    else {
      const said = await answer?.json().catch(() => null);
      text.textContent = said ? `${said.problem} ${said.fix}` : "The server does not answer.";
    }
  });
  return node;
}

function choices(name, legend, options, chosen) {
  const inputs = options.map(([value]) => el("input", { type: "radio", name, value, checked: value === chosen ? "" : null }));
  const lines = options.map(([, title, help], index) => el("label", { class: "ts-push-choice" }, inputs[index], el("span", {}, title, el("small", {}, help))));
  return { node: el("fieldset", {}, el("legend", {}, legend), ...lines), value: () => inputs.find((input) => input.checked).value };
}

function field(label, input, ...help) {
  const id = `${input.id}-help`;
  input.setAttribute("aria-describedby", id);
  return el("div", { class: "ts-push-field" }, el("label", { for: input.id }, label), input, el("small", { id }, ...help));
}

function file({ name, bytes, about }) {
  return el("li", {}, el("code", {}, name), el("span", {}, about), el("span", { class: "ts-push-size" }, bytes === null ? "" : amount(bytes)));
}

const total = (files) => files.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
const amount = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : size(bytes));

function section(view, ...children) {
  put(view.place, el("section", { class: "ts-push ts-stack" }, ...children));
}

/* Only what changed is written, so that a screen reader doesn't say the same twice. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

async function busy(button, act, view, says = null) {
  const back = keepFocus(() => view.place.querySelector("h2, button"));
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    const told = el("div", { class: "ts-note ts-bad", role: says ? null : "alert" }, el("p", {}, el("strong", {}, error.problem ?? "The server does not answer.")), el("p", {}, error.fix ?? "Try again."));
    if (says) put(says, told);
    else view.place.firstElementChild.append(told);
  }
  button.disabled = false;
  back();
}

async function send(path, body) {
  const answer = await fetch(address(path), { method: "POST", headers: { Accept: "application/json", "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const record = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(record.problem), record);
  return record;
}
