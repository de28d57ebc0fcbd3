/* A run that is a stage of a chain: all stages in one picture, with their scores, and what can be done with all of them. */

import { ask, el, figure, found, put } from "./dom.js";
import { keepFocus } from "./focus.js";

const POLL_MS = 2000, REST_MS = 10000;
const STATES = {
  created: "Waits", queued: "In the queue", running: "At work", stopping: "Stopping", stopped: "Stopped", finished: "Finished",
  failed: "Failed", deleted: "Deleted",
};
const MOVING = ["queued", "running", "stopping"];
const SURE = "Delete all stages of this plan with their results and all their files?";
const SURE_ALONE = "Delete the runs on one data set with their results and all their files? The run on all of them stays.";

export async function chain(id) {
  const view = { id, place: await found("ts-chain"), drawn: "" };
  const look = async () => {
    clearTimeout(view.timer);
    let picture = null;
    try {
      picture = await ask(`runs/${id}/chain`);
    } catch {
      // The run's own part of the page says that the server does not answer, or that there is no such run.
      if (!view.drawn) return;
    }
    if (picture) draw(view, picture);
    else if (!view.drawn) return; // a run by itself
    const rest = picture && MOVING.includes(picture.state) ? POLL_MS : REST_MS;
    view.timer = setTimeout(look, document.hidden ? 5 * rest : rest);
  };
  view.look = look;
  document.addEventListener("ts-run-changed", look);
  await look();
}

function draw(view, picture) {
  const drawn = JSON.stringify(picture);
  if (drawn === view.drawn) return;
  view.drawn = drawn;
  const back = keepFocus(() => view.place);
  view.says = el("p", { class: "ts-quiet", role: "status" }, picture.says);
  put(
    view.place,
    el(
      "section",
      { class: "ts-chain", "aria-label": picture.whole ? "Each data set alone" : "Stages of this plan" },
      el("h2", {}, picture.name),
      el("ol", { class: "ts-stages" }, ...[picture.whole, ...picture.stages].filter(Boolean).map((stage) => link(stage, view.id))),
      view.says,
      ...picture.verdicts.flatMap(verdict),
      acts(view, picture),
    ),
  );
  back();
}

function link(stage, here) {
  const gone = stage.state === "deleted";
  const what = gone ? "" : [stage.objective, stage.tuner].filter(Boolean).join(", ");
  const name = gone || stage.run === here ? el("b", {}, stage.title) : el("a", { href: `?run=${stage.run}` }, stage.title);
  const state = stage.state === "running" && stage.percent !== null ? `At work, ${Math.round(stage.percent)} %` : STATES[stage.state] || stage.state;
  return el(
    "li",
    { class: `ts-stage${stage.alone ? " ts-stage-alone" : ""}`, "data-state": stage.state, "aria-current": stage.run === here ? "page" : null },
    name,
    what ? el("span", {}, what) : null,
    stage.data ? el("span", { class: "ts-stage-data" }, stage.data) : null,
    el("span", { class: "ts-stage-state" }, stage.waits && stage.waits !== "next" ? sentence(stage.waits) : state),
    score(stage),
  );
}

function score({ main, before, after, unit }) {
  if (after === null || after === undefined) return null;
  const from = before === null || before === undefined ? "" : `${figure(before, unit)} → `;
  return el("span", { class: "ts-stage-score" }, `${main}: ${from}`, el("b", {}, figure(after, unit)));
}

function verdict(found) {
  return [
    el("h3", {}, found.headline),
    el("p", {}, found.sentence),
    el("p", { class: "ts-quiet" }, found.data, " ", el("a", { href: `?compare=${found.without},${found.with}` }, "Both side by side")),
  ];
}

function acts(view, picture) {
  const button = (text, act, kind = "") => {
    const node = el("button", { class: `ts-button ${kind}`, type: "button" }, text);
    node.addEventListener("click", () => doing(view, node, picture, act));
    return node;
  };
  const resting = !MOVING.includes(picture.state);
  const all = picture.whole ? "the runs on one data set" : "all stages";
  return el(
    "div",
    { class: "ts-stage-acts", role: "group", "aria-label": `What can be done with ${all}` },
    ["queued", "running"].includes(picture.state) ? button(`Stop ${all}`, "stop") : null,
    picture.state === "waiting" ? button(picture.whole ? `Resume ${all}` : "Resume the plan", "resume") : null,
    resting ? button(`Delete ${all}`, "delete", "ts-danger") : null,
  );
}

async function doing(view, node, { id, whole }, act) {
  if (act === "delete" && !window.confirm(whole ? SURE_ALONE : SURE)) return;
  node.disabled = true;
  try {
    await ask(`chains/${id}/${act}`, "POST");
    if (act === "delete") return window.location.assign(whole ? `?run=${whole.run}` : "?");
    await view.look();
    document.dispatchEvent(new Event("ts-chain-acted"));
  } catch (error) {
    view.says.textContent = `${error.problem ?? "The server does not answer."} ${error.fix ?? "Try again."}`;
  }
  node.disabled = false;
}

function sentence(text) {
  return text[0].toUpperCase() + text.slice(1);
}
