/* Settings: what is stored and for how long, the recovery link, limits, deleting; for the host, everybody's runs. */

import { ask, count, el, found, put, size } from "./dom.js";
import { keepFocus } from "./focus.js";
import { STATES } from "./rail.js";

export async function settings() {
  const place = await found("ts-settings");
  // Not before: Gradio writes its own when it begins to draw.
  document.title = "Settings, Tunesmith";
  const status = el("p", { role: "status", class: "ts-settings-status" });
  const body = el("div", { class: "ts-settings-body" });
  put(place, el("h1", {}, "Settings"), status, body);
  const draw = async () => {
    try {
      const facts = await ask("settings");
      put(body, ...[stored(facts), recovery(facts), limits(facts), visitors(facts, act), deleting(facts, act)].flat());
    } catch (error) {
      put(status, error.problem ? `${error.problem} ${error.fix}` : "The server does not answer. Reload the page to try again.");
    }
  };
  const act = async (button, path, waiting, told) => {
    const back = keepFocus(() => status);
    button.disabled = true;
    put(status, waiting);
    try {
      put(status, told(await ask(path, "POST")));
    } catch (error) {
      put(status, error.problem ? `${error.problem} ${error.fix}` : "The server does not answer. Nothing was changed.");
    }
    document.dispatchEvent(new Event("ts-run-changed"));
    await draw();
    status.scrollIntoView({ block: "nearest" });
    back();
  };
  await draw();
}

function stored(facts) {
  const used = facts.runs_bytes + facts.files_bytes;
  const lines = [
    ["Runs", facts.runs ? `${count(facts.runs)}, with ${size(facts.runs_bytes)}` : "none"],
    ["Files", facts.files_bytes ? size(facts.files_bytes) : "none"],
    facts.most_bytes ? ["Together", `${size(used)} of ${size(facts.most_bytes)}`] : null,
    facts.free_bytes !== null ? ["Free on the disk", size(facts.free_bytes)] : null,
    facts.home ? ["Where", facts.home] : null,
  ].filter(Boolean);
  return [
    el("h2", {}, "What is stored"),
    el("dl", { class: "ts-settings-facts" }, ...lines.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    el("p", { class: "ts-quiet" }, kept(facts)),
  ];
}

function kept(facts) {
  const parts = [
    facts.shared && !facts.host
      ? "Runs and uploaded files lie on the machine of whoever shares this page. Other visitors don't see them; the host can."
      : "Runs and files lie on this machine and leave it only when you push or send them.",
    facts.outlives_restarts ? "" : "They vanish when this Space restarts.",
    facts.keep_days ? `Runs that have ended, and files, are deleted ${count(facts.keep_days)} days after their last change.` : "",
  ];
  return parts.filter(Boolean).join(" ");
}

function recovery(facts) {
  if (!facts.recovery) return [];
  const link = new URL(facts.recovery, document.baseURI).href;
  const field = el("input", { id: "ts-recovery", type: "password", readonly: "", value: link, autocomplete: "off" });
  const show = el("button", { class: "ts-button", type: "button", "aria-pressed": "false" }, "Show");
  show.addEventListener("click", () => {
    const shown = field.type === "password";
    field.type = shown ? "text" : "password";
    put(show, shown ? "Hide" : "Show");
    show.setAttribute("aria-pressed", String(shown));
  });
  const copied = el("span", { role: "status", class: "ts-quiet" });
  const copy = el("button", { class: "ts-button", type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(link);
      put(copied, "Copied.");
    } catch {
      field.type = "text";
      field.select();
      put(copied, "The browser does not allow copying here. The link is selected: copy it yourself.");
    }
  });
  return [
    el("h2", {}, "Recovery link"),
    el(
      "p",
      { class: "ts-quiet" },
      "This browser is known by a cookie. The link brings the same runs into another browser, or back after the cookie is lost. "
        + "Whoever has it sees and changes your runs: keep it like a password.",
    ),
    el("div", { class: "ts-settings-link" }, el("label", { for: "ts-recovery" }, "Link"), field, show, copy),
    copied,
  ];
}

function limits(facts) {
  if (!facts.limits.length) return [];
  const lines = facts.limits.map((one) => [el("dt", {}, one.title), el("dd", {}, el("b", {}, one.text), " ", el("span", { class: "ts-quiet" }, one.help))]);
  return [
    el("h2", {}, "What a visitor may use"),
    el("dl", { class: "ts-settings-facts" }, ...lines.flat()),
  ];
}

function visitors(facts, act) {
  if (!facts.host && !facts.visitors.length) return [];
  const shown = facts.visitors.map((one) => visitor(one, act));
  return [el("h2", {}, "Visitors"), ...(shown.length ? shown : [el("p", { class: "ts-quiet" }, "Nobody else has runs or files here yet.")])];
}

function visitor(one, act) {
  const remove = el("button", { class: "ts-button ts-danger", type: "button" }, "Delete all of it");
  remove.setAttribute("aria-label", `Delete all runs and files of visitor ${one.short}`);
  remove.addEventListener("click", () => {
    if (!window.confirm(`Delete all runs and files of visitor ${one.short}? They can't be brought back.`)) return;
    act(remove, `host/delete/${one.owner}`, "Deleting…", told);
  });
  return el(
    "section",
    { class: "ts-visitor", "aria-label": `Visitor ${one.short}` },
    el("div", { class: "ts-visitor-head" }, el("h3", {}, `Visitor ${one.short}`), el("span", { class: "ts-quiet" }, size(one.bytes)), remove),
    el("ul", { class: "ts-visitor-runs" }, ...one.runs.map((run) => theirs(run, act))),
  );
}

function theirs(run, act) {
  const stop = el("button", { class: "ts-button", type: "button", "aria-label": `Stop ${run.name}` }, "Stop");
  stop.addEventListener("click", () => act(stop, `host/stop/${run.id}`, "Stopping…", () => `${run.name} stops at its next step.`));
  return el(
    "li",
    {},
    el("span", {}, run.name),
    el("span", { class: "ts-quiet" }, STATES[run.state] || run.state),
    run.active && run.state !== "stopping" ? stop : null,
  );
}

function deleting(facts, act) {
  if (!facts.runs && !facts.files_bytes) return [];
  const button = el("button", { class: "ts-button ts-danger", type: "button" }, "Delete all my runs and files");
  button.addEventListener("click", () => {
    if (!window.confirm("Delete all your runs, their results, and your files? They can't be brought back.")) return;
    act(button, "settings/delete", "Deleting…", told);
  });
  return [
    el("h2", {}, "Delete"),
    el("p", { class: "ts-quiet" }, "Runs that are at work are ended first. What you downloaded or pushed stays where it is."),
    el("div", {}, button),
  ];
}

function told(record) {
  if (!record.left) return "Deleted.";
  return `${record.left === 1 ? "One run is" : `${count(record.left)} runs are`} still ending. Delete again in a minute.`;
}
