/* One run: what it does at the moment, its curve and log by deltas, what can be done, its result. */

import { copying } from "./copying.js";
import { curve } from "./curve.js";
import { address, ask, count, el, found, loss, put, size, span } from "./dom.js";
import { keepFocus } from "./focus.js";
import { byLabel } from "./labels.js";
import { course, facts, samples } from "./live.js";
import { advice, rows, verdict } from "./result.js";

const POLL_MS = 1000, REST_MS = 5000, MOST_LINES = 300, MOST_POINTS = 2000;
const ACTIVE = ["queued", "running", "stopping"];
const RESTING = {
  created: "Not started.",
  queued: "Waiting for the run before it to end.",
  stopped: "Stopped. Everything up to the last checkpoint is kept; resuming goes on from there.",
  finished: "Finished",
  failed: "Failed. What it had reached at the last checkpoint is safe.",
};
const AWAY = "The server does not answer. The run itself goes on; this page looks again by itself.";
const PHASES = {
  prepare: "Reading the data",
  load: "Loading the model",
  "score before": "Scoring the model before training",
  "score baseline": "Scoring a second baseline",
  answers: "The teacher writes the answers to learn",
  teacher: "Asking the teacher, once",
  features: "Computing features",
  train: "Training",
  calibrate: "Finding out how sure it may be",
  "score after": "Scoring the result",
};
const ALONE = "Do these data sets help each other? Each can be learned by itself, too, with the same settings, rows and split; that takes about as long again.";
const PARTS = ["head", "failure", "result", "labels", "rows", "advice", "facts", "curve", "sample"];

export async function run(id) {
  const view = { id, offset: 0, train: [], held: [], last: null, samples: [], note: "", told: 0, state: null, hidden: 0, away: false };
  const [place, more] = await Promise.all([found("ts-run"), found("ts-more")]);
  try {
    const first = await ask(`runs/${id}`);
    document.title = `${first.summary.name}, Tunesmith`;
    build(view, place, more, first.summary.name);
  } catch (error) {
    const again = error.problem ? el("a", { href: "?runs" }, "All runs") : "Reload the page to try again.";
    put(place, el("h1", {}, error.problem || "The server does not answer."), el("p", {}, error.fix || "", " ", again));
    return;
  }
  const look = async () => {
    try {
      const news = await ask(`runs/${id}/feed?offset=${view.offset}`);
      await take(view, news);
      view.away = false;
    } catch (error) {
      view.away = true;
      if (view.state === null) lay(view);
      say(view, error.problem ? `${error.problem} ${error.fix}` : AWAY);
    }
    const rest = view.away || ACTIVE.includes(view.state) ? POLL_MS : REST_MS;
    view.timer = setTimeout(look, document.hidden ? 5 * rest : rest);
  };
  view.again = () => {
    clearTimeout(view.timer);
    return look();
  };
  document.addEventListener("ts-chain-acted", view.again);
  document.addEventListener("visibilitychange", () => document.hidden || view.again());
  await look();
}

function build(view, place, more, name) {
  for (const part of PARTS) view[`${part}Place`] = el("section", { class: "ts-stack" });
  view.says = el("p", { class: "ts-lead", role: "status" });
  view.fill = el("i");
  view.bar = el("div", { class: "ts-bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 }, view.fill);
  view.headPlace.append(el("h1", { class: "ts-title" }, name), view.says, view.bar);
  view.lines = el("pre", { tabindex: "0", "aria-label": "Log" });
  view.curve = curve();
  view.curvePlace.append(view.curve.node);
  view.acts = el("div", { class: "ts-acts", role: "group", "aria-label": "What can be done with this run", tabindex: "-1" });
  view.logTitle = el("summary", {}, "Log");
  view.rest = el("div", { class: "ts-rest" });
  view.log = el("details", { class: "ts-log" }, view.logTitle, view.lines);
  Object.assign(view, { place, more });
}

/* Shows all parts in their order: first when there is something in them, so that nothing moves; and anew when a run that was
   watched ends. Then the page turns into its result and fades in, where else everything below the verdict would jump. */
function lay(view) {
  const back = keepFocus(() => view.acts);
  for (const [place, ...parts] of [[view.place, ...PARTS.map((part) => view[`${part}Place`])], [view.more, view.log, view.rest, view.acts]]) {
    put(place);
    place.classList.remove("ts-arriving");
    void place.offsetWidth;
    place.classList.add("ts-arriving");
    put(place, ...parts);
  }
  back();
}

async function take(view, news) {
  // With a new state there is more to tell; it is asked for first, so that everything is drawn at once.
  const whole = news.state === view.state ? null : await ask(`runs/${view.id}`);
  const ended = Boolean(whole?.verdict) && ACTIVE.includes(view.state);
  view.offset = news.offset;
  view.hidden += news.left_out;
  if (view.hidden) view.logTitle.textContent = `Log (${count(view.hidden)} more lines are in events.jsonl)`;
  for (const [step, value] of news.steps) {
    // A resumed run makes some steps again; what was after them is no more.
    if (view.train.length && view.train.at(-1).step >= step) view.train = view.train.filter((point) => point.step < step);
    view.train.push({ step, loss: value });
  }
  if (view.train.length > MOST_POINTS) view.train = view.train.filter((_, i) => i % 2 === 0 || i === view.train.length - 1);
  if (news.now) view.last = news.now;
  view.told = Math.max(view.told, news.now?.time ?? 0, ...news.events.map((event) => event.time));
  news.events.forEach((event) => notice(view, event));
  if (news.steps.length) line(view, news.now.time, `Step ${news.now.step} of ${news.now.total_steps}, loss ${loss(news.now.loss)}`);
  progress(view, news);
  if (news.steps.length || news.events.length || view.state === null) draw(view, news);
  if (!whole) return;
  const back = keepFocus(() => view.acts);
  settle(view, whole);
  if (ended || view.state === null) lay(view);
  back();
  view.state = news.state;
  document.dispatchEvent(new Event("ts-run-changed"));
}

function notice(view, event) {
  const told = {
    evaluation: () => `Held-out loss at step ${event.step}: ${loss(event.metrics.loss)}`,
    sample: () => `Answer at step ${event.step}: ${event.answer}`,
    checkpoint: () => `Checkpoint at step ${event.step}, ${size(event.bytes)}${event.best ? ", the best so far" : ""}`,
    notice: () => event.text,
    failed: () => `${event.problem} ${event.fix}`,
    finished: () => `Finished after ${span(event.seconds)}`,
  }[event.type];
  if (!told) return;
  line(view, event.time, told());
  if (event.type === "notice") view.note = event.text;
  if (event.type === "sample") view.samples = [...view.samples.filter((sample) => sample.step < event.step), event];
  if (event.type === "evaluation" && Number.isFinite(event.metrics.loss)) {
    view.held = view.held.filter((point) => point.step < event.step);
    view.held.push({ step: event.step, loss: event.metrics.loss });
  }
}

function line(view, time, text) {
  const below = view.lines.scrollTop + view.lines.clientHeight >= view.lines.scrollHeight - 8;
  view.lines.append(el("time", {}, new Date(1000 * time).toLocaleTimeString("en-GB")), `${text}\n`);
  while (view.lines.childNodes.length > 2 * MOST_LINES) {
    view.lines.firstChild.remove();
    view.lines.firstChild.remove();
  }
  if (below) view.lines.scrollTop = view.lines.scrollHeight;
}

function progress(view, news) {
  const running = ["running", "stopping"].includes(news.state);
  const portion = news.total ? news.done / news.total : 0;
  view.bar.hidden = !ACTIVE.includes(news.state);
  view.bar.style.visibility = running ? "" : "hidden";
  view.fill.style.transform = `scaleX(${portion})`;
  view.bar.setAttribute("aria-valuenow", Math.round(100 * portion));
  // A state that is new is told by `settle`, which knows more of it.
  if (!running) return news.state === view.state && say(view, resting(view, news.state));
  const stopping = news.state === "stopping" ? "Stopping after this step. " : "";
  const parts = [`${stopping}${PHASES[news.phase] || "Starting"}${news.total > 1 ? `, ${count(news.done)} of ${count(news.total)}` : ""}`];
  if (news.left !== null && news.phase === "train") parts.push(`About ${span(news.left)} of training left`);
  if (news.left !== null && news.phase === "features") parts.push(`About ${span(news.left)} of them left`);
  say(view, `${parts.join(". ")}.`);
}

/* A run at rest: what that means, since when, and how long it trained. */
function resting(view, state) {
  if (state === "created" && view.waits) return view.waits === "next" ? "Not started. Its turn comes next." : `Not started. It ${view.waits}.`;
  if (!view.told || !["stopped", "finished", "failed"].includes(state)) return RESTING[state] || state;
  const when = new Date(1000 * view.told).toLocaleString("en-GB", { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });
  const seconds = view.trained ?? view.last?.seconds;
  const trained = seconds ? `, after ${span(seconds)} of training` : "";
  return state === "finished" ? `Finished on ${when}${trained}.` : `${RESTING[state]} It ended on ${when}${trained}.`;
}

/* Only what changed is written, so that a screen reader doesn't say the same twice. */
function say(view, text) {
  if (view.says.textContent !== text) view.says.textContent = text;
}

function draw(view, news) {
  const { last, held, train } = view;
  const live = ACTIVE.includes(news.state);
  const beside = (news.phase === "train" && course(news.estimate_seconds, last, news.left)) || view.note;
  put(view.factsPlace, facts(last, held, news.left, live, news.fits), live && el("p", { class: "ts-quiet ts-line" }, beside));
  // What learns without a loss has no curve.
  if (train.length) view.curvePlace.hidden = false;
  else if (news.fits) view.curvePlace.hidden = true;
  view.curve.draw(train, held, last ? last.total_steps : 1, Math.max(280, view.place.clientWidth));
  put(view.samplePlace, ...samples(view.samples));
}

function settle(view, { summary, result, verdict: judged, waits, service, alone }) {
  const state = summary.state;
  view.trained = result?.seconds;
  view.waits = waits;
  if (!["running", "stopping"].includes(state)) say(view, resting(view, state));
  const button = (text, path, kind = "") => {
    const node = el("button", { class: `ts-button ${kind}`, type: "button" }, text);
    node.addEventListener("click", () => act(view, node, path));
    return node;
  };
  const link = (text, what, kind = "") =>
    el("a", { class: `ts-button ${kind}`, href: address(`runs/${view.id}/download/${what}`), download: "" }, text);
  const done = state === "finished";
  put(
    view.rest,
    done && alone ? el("p", { class: "ts-quiet" }, ALONE) : null,
    done && alone ? button("Compare with each data set alone", "alone") : null,
    copying(view.id, done),
    el(
      "div",
      { class: "ts-copying", role: "group", "aria-label": "Download parts of this run" },
      el("span", { class: "ts-quiet" }, "Download"),
      link("Settings (YAML)", "spec"),
      done ? link("Script of this run", "script") : null,
    ),
    ACTIVE.includes(state) ? null : button("Delete this run", "delete", "ts-danger"),
  );
  const resumes = ["stopped", "failed", "created"].includes(state);
  put(
    view.acts,
    resumes && !waits && service ? keyField(service) : null,
    ["running", "queued"].includes(state) ? button("Stop", "stop") : null,
    state === "stopping" ? button("End at once", "end") : null,
    resumes && !waits ? button(state === "created" ? "Start" : "Resume", "resume", state === "failed" ? "" : "ts-primary") : null,
    done ? link("Download the result", "zip", "ts-primary") : null,
  );
  const { problem, fix } = summary;
  put(view.failurePlace, problem ? el("div", { class: "ts-note ts-bad" }, el("p", {}, el("strong", {}, problem)), el("p", {}, fix)) : null);
  put(view.resultPlace, ...(judged ? verdict(judged, result) : []));
  put(view.labelsPlace, ...byLabel(judged?.by_label));
  put(view.rowsPlace, ...(judged ? rows(judged.rows) : []));
  put(view.advicePlace, ...(judged ? advice(view.id, judged.advice, state === "failed", result) : []));
  // A run that ended before its first step has no course to show.
  view.factsPlace.hidden = Boolean(result) || (Boolean(judged) && !view.last);
  view.curvePlace.hidden = Boolean(judged) && !view.train.length;
  document.body.classList.toggle("ts-can-talk", Boolean(result && result.talks));
  document.body.classList.toggle("ts-can-label", Boolean(result && result.labels));
  document.body.classList.toggle("ts-can-pair", Boolean(result && result.pairs));
  // Other parts of the page draw what they have to say of this run (its state and result are new).
  document.dispatchEvent(new CustomEvent("ts-run-settled", { detail: { id: view.id, summary, result, verdict: judged } }));
}

/* Of the service that a run turns to. It is sent once and never written into the page again. */
function keyField(service) {
  const about = `Key of ${service}, if it wants one and this page doesn't hold it`;
  return el("input", { class: "ts-key", type: "password", autocomplete: "off", spellcheck: "false", maxlength: 500, "aria-label": about, placeholder: `Key of ${service}`, title: about });
}

async function act(view, node, path) {
  if (path === "delete" && !window.confirm("Delete this run with its result and all its files?")) return;
  const back = keepFocus(() => view.acts);
  node.disabled = true;
  try {
    const key = view.acts.querySelector(".ts-key");
    await ask(`runs/${view.id}/${path}`, "POST", path === "resume" ? { key: key?.value ?? "" } : undefined);
    if (key) key.value = "";
    if (path === "delete") return window.location.assign("?");
    if (path === "alone") return window.location.reload();
    await view.again();
  } catch (error) {
    say(view, `${error.problem ?? "The server does not answer."} ${error.fix ?? "Try again."}`);
  }
  node.disabled = false;
  back();
}
