/* The list of runs beside the page. */

import { ask, el, figure, found, put } from "./dom.js";
import { keepFocus, land } from "./focus.js";

const LOOK_MS = 4000;
export const STATES = {
  created: "not started",
  queued: "waiting",
  running: "running",
  stopping: "stopping",
  stopped: "stopped",
  finished: "finished",
  failed: "failed",
};

export async function rail(current) {
  const place = await found("ts-rail");
  const side = document.getElementById("ts-side"), toggle = side.querySelector(".ts-toggle");
  toggle.addEventListener("click", () => {
    const open = side.classList.toggle("ts-open");
    toggle.setAttribute("aria-expanded", open);
    toggle.textContent = open ? "Close" : "Runs";
  });
  side.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !side.classList.contains("ts-open")) return;
    toggle.click();
    toggle.focus();
  });
  side.prepend(skip());
  let shown = "", timer = 0;
  const look = async () => {
    clearTimeout(timer);
    try {
      const runs = await ask("runs");
      document.dispatchEvent(new CustomEvent("ts-runs", { detail: runs }));
      const text = JSON.stringify(runs);
      if (text !== shown) {
        shown = text;
        const { href } = document.activeElement;
        const back = keepFocus(() => [...place.querySelectorAll("a")].find((link) => link.href === href));
        put(place, ...(runs.length ? runs.map((run) => item(run, current)) : [empty()]));
        back();
      }
    } catch {
      // The server is away. The next look tells, and the run's own view says so.
    }
    timer = setTimeout(look, document.hidden ? 5 * LOOK_MS : LOOK_MS);
  };
  document.addEventListener("ts-run-changed", look);
  await look();
}

/* Past the runs to the page, for those who go by Tab. */
function skip() {
  const link = el("a", { class: "ts-skip", href: "#" }, "Skip to the page");
  link.addEventListener("click", (event) => {
    event.preventDefault();
    land([...document.querySelectorAll(".ts-main")].find((view) => view.getClientRects().length));
  });
  return link;
}

function empty() {
  return el("p", { class: "ts-rail-title" }, "No runs yet. The first one will stand here.");
}

function item(run, current) {
  return el(
    "a",
    { class: `ts-rail-item ts-is-${run.state}`, href: `?run=${run.id}`, "aria-current": run.id === current ? "page" : null },
    el("span", { class: "ts-dot", "aria-hidden": "true" }),
    el("span", { class: "ts-rail-name" }, run.name),
    run.stage ? el("span", { class: "ts-rail-state" }, `Plan ${run.stage.name}: ${run.stage.place} of ${run.stage.count}`) : null,
    el("span", { class: "ts-rail-state" }, [STATES[run.state] || run.state, outcome(run)].filter(Boolean).join(", ")),
  );
}

function outcome(run) {
  if (run.after !== null) return run.before !== null ? `${figure(run.before, run.unit)} → ${figure(run.after, run.unit)}` : figure(run.after, run.unit);
  return run.state === "running" && run.percent !== null ? `${Math.round(run.percent)} %` : "";
}
