/* The rail of runs and the view of one run. Everything from a run is put in as text, never as markup. */
(() => {
  "use strict";
  const POLL_MS = 1000, RAIL_MS = 4000, MOST_LINES = 300;
  const STATES = { created: "not started", queued: "waiting", running: "running", stopping: "stopping", stopped: "stopped", finished: "finished", failed: "failed" };
  const PHASES = { prepare: "Reading the data", load: "Loading the model", "score baseline": "Scoring a baseline", "score before": "Scoring the model before training", train: "Training", "score after": "Scoring the result" };
  const runId = new URLSearchParams(location.search).get("run");

  document.documentElement.classList.toggle("ts-has-run", Boolean(runId));

  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElementNS(["svg", "path", "line", "circle", "text", "g"].includes(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) node.setAttribute(name, value);
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };
  const put = (node, ...children) => { node.replaceChildren(...children.filter((child) => child !== null && child !== undefined)); };
  const share = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`);
  const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`);
  const span = (seconds) => seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  const words = (name) => name.replaceAll("_", " ");

  async function ask(path, method = "GET") {
    const answer = await fetch(new URL(`tunesmith/${path}`, document.baseURI), { method, headers: { Accept: "application/json" } });
    const record = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(record.problem), record);
    return record;
  }

  /* The rail. On a phone it would cover the page, so it begins closed there. */
  function closeRail() {
    if (innerWidth > 768) return;
    const bar = document.querySelector(".sidebar"), toggle = bar?.querySelector(".toggle-button");
    if (!toggle) return void setTimeout(closeRail, 50);
    if (bar.classList.contains("open")) toggle.click();
  }
  async function rail() {
    const place = document.getElementById("ts-rail");
    if (place) {
      try {
        const runs = await ask("runs");
        const text = JSON.stringify(runs);
        if (place.dataset.shown !== text) {
          place.dataset.shown = text;
          put(place, ...(runs.length ? runs.map(railItem) : [el("p", { class: "ts-quiet" }, "No runs yet.")]));
        }
      } catch { /* the server is away; the next look tells */ }
    }
    setTimeout(rail, place ? RAIL_MS : 100);
  }
  function railItem(run) {
    const score = run.after !== null ? `${share(run.before)} → ${share(run.after)}` : run.state === "running" && run.percent !== null ? `${Math.round(run.percent)} %` : "";
    return el("a", { class: "ts-rail-item", href: `?run=${run.id}`, "aria-current": run.id === runId ? "page" : null },
      el("span", { class: "ts-rail-name" }, run.name),
      el("span", { class: `ts-rail-state ts-is-${run.state}` }, STATES[run.state] || run.state, score ? ` · ${score}` : ""));
  }

  /* One run */
  const seen = { offset: 0, train: [], held: [], lines: [], left: 0, last: null, state: null };
  let parts = null;

  function skeleton(place) {
    const part = (name, tag = "div", more = {}) => el(tag, { class: `ts-${name}`, ...more });
    parts = { title: part("title", "h1"), says: part("says", "p", { role: "status", "aria-live": "polite" }), bar: part("bar"), acts: part("acts"), facts: part("facts", "dl"), failure: part("failure"), result: part("result", "section", { "aria-label": "Result" }), curve: part("curve", "figure"), samples: part("samples", "section"), log: part("log", "details") };
    parts.fill = el("div", { class: "ts-fill" });
    parts.bar.append(parts.fill);
    parts.bar.setAttribute("role", "progressbar");
    parts.bar.setAttribute("aria-label", "Progress");
    parts.lines = el("pre", { tabindex: "0", "aria-label": "Log" });
    parts.log.append(el("summary", {}, "Log"), parts.lines);
    put(place, parts.title, parts.says, parts.bar, parts.acts, parts.failure, parts.facts, parts.result, parts.curve, parts.samples, parts.log);
  }

  async function watch() {
    const place = document.getElementById("ts-run");
    if (!place) return setTimeout(watch, 100);
    try {
      if (!parts) {
        const first = await ask(`runs/${runId}`);
        skeleton(place);
        parts.title.textContent = first.summary.name;
        document.title = `${first.summary.name} – Tunesmith`;
      }
      const news = await ask(`runs/${runId}/feed?offset=${seen.offset}`);
      seen.offset = news.offset;
      seen.left += news.left_out;
      news.events.forEach(take);
      if (news.events.length || news.state !== seen.state) draw(news);
      if (news.state !== seen.state) { seen.state = news.state; await settle(); }
      place.removeAttribute("data-away");
    } catch (error) {
      if (error.problem && !parts) return put(place, el("h1", {}, error.problem), el("p", {}, error.fix), el("p", {}, el("a", { href: "?" }, "Start a new run")));
      place.setAttribute("data-away", "");
      if (parts) parts.says.textContent = "The server does not answer. The run itself goes on; this page looks again by itself.";
    }
    setTimeout(watch, document.hidden ? 4 * POLL_MS : POLL_MS);
  }

  function take(event) {
    if (event.type === "progress" && event.phase === "train") {
      if (seen.train.length && seen.train.at(-1).step >= event.step) seen.train = seen.train.filter((p) => p.step < event.step);
      if (event.loss !== undefined) seen.train.push({ step: event.step, loss: event.loss });
      seen.last = event;
      line(`step ${event.step} of ${event.total_steps}: loss ${event.loss?.toFixed(4) ?? "–"}`);
    } else if (event.type === "evaluation") { seen.held = seen.held.filter((p) => p.step < event.step); seen.held.push({ step: event.step, loss: event.metrics.loss }); line(`held-out loss at step ${event.step}: ${event.metrics.loss.toFixed(4)}`); }
    else if (event.type === "sample") { seen.sample = event; line(`sample at step ${event.step}: ${event.answer}`); }
    else if (event.type === "checkpoint") line(`checkpoint at step ${event.step}: ${size(event.bytes)}`);
    else if (event.type === "notice") line(event.text);
    else if (event.type === "failed") line(`${event.problem} ${event.fix}`);
    else if (event.type === "finished") line(`finished after ${span(event.seconds)} of training`);
  }
  const line = (text) => { seen.lines.push(text); if (seen.lines.length > MOST_LINES) seen.lines.splice(0, seen.lines.length - MOST_LINES); };

  function draw(news) {
    const last = seen.last, running = ["running", "stopping"].includes(news.state);
    const training = news.phase === "train";
    const done = training ? last : { step: news.phase_done, total_steps: news.phase_total };
    const portion = news.state === "finished" ? 1 : done && done.total_steps ? done.step / done.total_steps : 0;
    parts.fill.style.transform = `scaleX(${portion})`;
    parts.bar.setAttribute("aria-valuenow", Math.round(100 * portion));
    parts.bar.setAttribute("aria-valuemin", 0);
    parts.bar.setAttribute("aria-valuemax", 100);
    parts.bar.hidden = !running;
    if (running) {
      const what = PHASES[news.phase] || "Starting";
      const count = done && done.total_steps > 1 ? ` ${done.step} of ${done.total_steps}` : "";
      const left = training && news.eta_seconds !== null && news.eta_seconds !== undefined ? `; about ${span(news.eta_seconds)} of training left` : "";
      parts.says.textContent = `${news.state === "stopping" ? "Stopping after this step. " : ""}${what}${count}${left}.`;
    } else parts.says.textContent = { created: "Not started.", queued: "Waiting for the run before it to end.", stopped: "Stopped, with everything up to the last checkpoint kept.", finished: "Finished.", failed: "Failed." }[news.state] || "";
    const facts = [];
    if (last) {
      facts.push(["Step", `${last.step} of ${last.total_steps}`], ["Passes", (last.epoch ?? 0).toFixed(2)], ["Loss", last.loss?.toFixed(4) ?? "–"]);
      if (seen.held.length) facts.push(["Held-out loss", seen.held.at(-1).loss.toFixed(4)]);
      if (last.tokens_per_second) facts.push(["Speed", `${Math.round(last.tokens_per_second).toLocaleString()} tokens/s`]);
      if (last.memory_bytes) facts.push(["Peak memory", size(last.memory_bytes)]);
      facts.push(["Training time", span(last.seconds)]);
    }
    put(parts.facts, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    curve();
    if (seen.sample) put(parts.samples, el("h2", {}, `What it answers at step ${seen.sample.step}`), el("dl", { class: "ts-sample" }, el("dt", {}, "Asked"), el("dd", {}, seen.sample.prompt), el("dt", {}, "Answers"), el("dd", {}, seen.sample.answer || "(nothing)"), el("dt", {}, "Expected"), el("dd", {}, seen.sample.expected)));
    const bottom = parts.lines.scrollTop + parts.lines.clientHeight >= parts.lines.scrollHeight - 8;
    parts.lines.textContent = (seen.left ? `(${seen.left} earlier lines are in events.jsonl)\n` : "") + seen.lines.join("\n");
    if (bottom) parts.lines.scrollTop = parts.lines.scrollHeight;
  }

  function curve() {
    const points = seen.train;
    if (points.length < 2) return put(parts.curve);
    const W = 720, H = 220, L = 46, B = 26, T = 10, R = 12;
    const total = Math.max(seen.last.total_steps, 2), top = Math.max(...points.map((p) => p.loss), ...seen.held.map((p) => p.loss)) * 1.05 || 1;
    const x = (step) => L + ((step - 1) / (total - 1)) * (W - L - R), y = (loss) => T + (1 - loss / top) * (H - T - B);
    const path = (list) => list.map((p, i) => `${i ? "L" : "M"}${x(p.step).toFixed(1)} ${y(p.loss).toFixed(1)}`).join("");
    const stride = Math.max(1, Math.ceil(points.length / 300));
    const thin = points.filter((_, i) => i % stride === 0 || i === points.length - 1);
    const ticks = [0, 0.5, 1].map((f) => f * top);
    const svg = el("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Training loss fell from ${points[0].loss.toFixed(2)} to ${points.at(-1).loss.toFixed(2)}` });
    ticks.forEach((value) => svg.append(el("line", { x1: L, x2: W - R, y1: y(value), y2: y(value), class: "ts-grid" }), el("text", { x: L - 8, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(2))));
    [1, total].forEach((step) => svg.append(el("text", { x: x(step), y: H - 6, "text-anchor": step === 1 ? "start" : "end" }, `step ${step}`)));
    svg.append(el("path", { d: path(thin), class: "ts-train" }));
    if (seen.held.length > 1) svg.append(el("path", { d: path(seen.held), class: "ts-held" }));
    seen.held.forEach((p) => svg.append(el("circle", { cx: x(p.step), cy: y(p.loss), r: 3.5, class: "ts-held-dot" })));
    put(parts.curve, el("figcaption", {}, el("span", { class: "ts-key ts-key-train" }), "training loss", seen.held.length ? el("span", { class: "ts-key ts-key-held" }) : null, seen.held.length ? "held-out loss" : null), svg);
  }

  async function settle() {
    const found = await ask(`runs/${runId}`);
    const state = found.summary.state;
    const button = (text, path, kind = "") => { const node = el("button", { class: `ts-button ${kind}`, type: "button" }, text); node.addEventListener("click", () => act(node, path)); return node; };
    const link = (text, what) => el("a", { class: "ts-button", href: new URL(`tunesmith/runs/${runId}/download/${what}`, document.baseURI).href, download: "" }, text);
    put(parts.acts,
      state === "running" || state === "queued" ? button("Stop", "stop", "ts-main") : null,
      state === "stopping" ? button("End at once", "end") : null,
      state === "stopped" || state === "failed" ? button("Resume", "resume", "ts-main") : null,
      state === "finished" ? link("Download the result", "zip") : null,
      state === "finished" ? link("Script of this run", "script") : null,
      link("Settings (YAML)", "spec"),
      ["stopped", "failed", "finished", "created"].includes(state) ? button("Delete", "delete", "ts-danger") : null);
    put(parts.failure, ...(found.summary.problem ? [el("h2", {}, "What happened"), el("p", {}, found.summary.problem), el("p", {}, found.summary.fix)] : []));
    put(parts.result, ...(found.result ? verdict(found.result) : []));
    document.body.classList.toggle("ts-can-talk", Boolean(found.result && found.result.talks));
  }
  async function act(node, path) {
    if (path === "delete" && !confirm("Delete this run and all its files?")) return;
    node.disabled = true;
    try { await ask(`runs/${runId}/${path}`, "POST"); if (path === "delete") return location.assign("?"); seen.state = null; }
    catch (error) { parts.says.textContent = `${error.problem ?? error.message} ${error.fix ?? ""}`; node.disabled = false; }
  }

  function verdict(result) {
    const m = result.metrics, main = m.main, after = m.after;
    const facts = el("p", { class: "ts-quiet" }, `${result.trainable_parameters.toLocaleString()} of ${result.total_parameters.toLocaleString()} weights learned, in ${span(result.seconds)} of training, with at most ${size(result.peak_memory_bytes)} of memory. The result takes ${size(result.artifact_bytes)}.`);
    if (!after) return [el("h2", {}, "Result"), el("p", {}, "No rows were held out, so nothing was scored."), facts];
    const columns = [["before", m.before], ...Object.entries(m.baselines || {}).map(([name, scores]) => [`before, ${name}`, scores]), ["after", after]].filter(([, scores]) => scores);
    const names = Object.keys(after).filter((name) => !/_(low|high)$/.test(name));
    const cell = (scores, name) => scores[name] === undefined ? "–" : `${name}_low` in scores ? `${share(scores[name])} (${(100 * scores[`${name}_low`]).toFixed(1)} to ${(100 * scores[`${name}_high`]).toFixed(1)})` : scores[name].toFixed(3);
    const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Score"), ...columns.map(([name]) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...names.map((name) => el("tr", {}, el("th", { scope: "row" }, words(name)), ...columns.map(([, scores]) => el("td", {}, cell(scores, name)))))));
    const head = m.before ? `${words(main)} went from ${share(m.before[main])} to ${share(after[main])}` : `${words(main)} is ${share(after[main])}`;
    const rows = (title, list) => list.length ? el("div", {}, el("h3", {}, title), el("div", { class: "ts-scroll", tabindex: "0", role: "region", "aria-label": title }, el("table", {}, el("thead", {}, el("tr", {}, ...["Row", "Asked", "Expected", "Before", "After"].map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...list.map((row) => el("tr", {}, el("td", {}, String(row.row)), el("td", {}, row.prompt), el("td", {}, row.expected), el("td", {}, row.was ?? "–"), el("td", {}, row.answer || "(nothing)"))))))) : null;
    return [el("h2", {}, head.charAt(0).toUpperCase() + head.slice(1)), el("p", { class: "ts-quiet" }, `On ${m.rows} held-out rows (${m.split}) that it did not learn from. In parentheses the 95 % interval, by bootstrap over rows. Loss is in nats; lower is better.`), el("div", { class: "ts-scroll", tabindex: "0", role: "region", "aria-label": "Scores" }, table), facts, rows("Worst rows", result.worst), rows("Best rows", result.best)];
  }

  const begin = () => { closeRail(); rail(); if (runId) watch(); };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", begin) : begin();
})();
