/* The loss of a run as a picture whose values can be read with the pointer or the arrow keys. */

import { count, el, loss, put } from "./dom.js";

const HEIGHT = 240, LEFT = 44, RIGHT = 10, TOP = 10, BOTTOM = 26;
const MOST_POINTS = 300;
const LOG_HELPS = 20; /* From this ratio of the highest to the lowest loss on, half of a plain curve lies on its floor. */
const HOW = "Point at the curve, or go along it with the arrow keys, to read its values.";
const LOG_FLOOR = 1e-6;

/* A figure to be drawn again and again: `node`, and `draw(train, held, total, width)`. Focus and pointer outlive a redraw.
   train and held: lists of {step, loss}, by step. total: steps of the whole run. width: in pixels. */
export function curve() {
  const view = { train: [], held: [], smooth: [], total: 1, width: 600, at: null, log: false };
  view.svg = el("svg", { role: "slider", tabindex: "0", "aria-label": "Loss by step", "aria-orientation": "horizontal", "aria-valuemin": 0 });
  view.picture = el("g");
  view.cursor = el("g", { class: "ts-cursor" });
  view.svg.append(view.picture, view.cursor);
  view.caption = el("figcaption");
  view.read = el("p", { class: "ts-read" }, "The curve begins with the first step.");
  view.scale = el("button", { type: "button", class: "ts-button ts-small", "aria-pressed": "false" }, "Log scale");
  view.scale.hidden = true;
  view.scale.addEventListener("click", () => {
    view.log = !view.log;
    view.scale.setAttribute("aria-pressed", String(view.log));
    render(view);
  });
  view.svg.addEventListener("pointermove", (event) => {
    const box = view.svg.getBoundingClientRect();
    const inside = ((event.clientX - box.left) * view.width) / box.width - LEFT;
    point(view, (inside / (view.width - LEFT - RIGHT)) * view.total);
  });
  view.svg.addEventListener("pointerleave", () => document.activeElement === view.svg || leave(view));
  view.svg.addEventListener("blur", () => leave(view));
  view.svg.addEventListener("keydown", (event) => walk(view, event));
  const node = el("figure", { class: "ts-curve" }, view.caption, view.svg, el("div", { class: "ts-under" }, view.read, view.scale));
  const draw = (train, held, total, width) => {
    Object.assign(view, { train, held, total: total || 1, width, smooth: train.length ? smoothed(train, total || 1) : [] });
    render(view);
  };
  render(view);
  return { node, draw };
}

function render(view) {
  const { train, held, total, width } = view;
  const every = [...train, ...held].map((point) => point.loss);
  const top = every.reduce((most, value) => Math.max(most, value), 0) * 1.04 || 1;
  const low = every.reduce((least, value) => (value > LOG_FLOOR ? Math.min(least, value) : least), top);
  view.scale.hidden = !view.log && top < LOG_HELPS * low;
  view.x = (step) => LEFT + (step / total) * (width - LEFT - RIGHT);
  const high = (value) => (view.log ? Math.log(Math.max(value, low) / low) / (Math.log(top / low) || 1) : Math.min(value, top) / top);
  view.y = (value) => TOP + (1 - high(value)) * (HEIGHT - TOP - BOTTOM);
  const path = (points) => points.map((p, i) => `${i ? "L" : "M"}${view.x(p.step).toFixed(1)} ${view.y(p.loss).toFixed(1)}`).join("");
  view.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const best = held.length ? held.reduce((least, p) => (p.loss < least.loss ? p : least)) : null;
  put(view.picture, ...grid(view, top, low));
  if (train.length) {
    view.picture.append(el("path", { d: path(thinned(train, total)), class: "ts-raw" }), el("path", { d: path(thinned(view.smooth, total)), class: "ts-smooth" }));
  }
  if (held.length > 1) view.picture.append(el("path", { d: path(held), class: "ts-held" }));
  held.forEach((p) => view.picture.append(el("circle", { cx: view.x(p.step), cy: view.y(p.loss), r: 3.5, class: "ts-held-dot" })));
  if (best) view.picture.append(el("circle", { cx: view.x(best.step), cy: view.y(best.loss), r: 7, class: "ts-best" }));
  put(view.caption,
    el("span", {}, "Training loss"),
    best ? el("span", { class: "ts-key-held" }, "Held-out loss") : null,
    best ? el("span", { class: "ts-key-best" }, `Best: ${loss(best.loss)} at step ${count(best.step)}`) : null,
    "loss by step; lower is better");
  if (view.at === null) {
    const said = train.length ? `Training loss from ${loss(train[0].loss)} to ${loss(train.at(-1).loss)} at step ${count(train.at(-1).step)} of ${count(total)}` : "No step yet";
    say(view, train.length ? HOW : "The curve begins with the first step.", held.length ? `${said}, held-out loss ${loss(held[0].loss)} to ${loss(held.at(-1).loss)}` : said);
    view.svg.setAttribute("aria-valuenow", train.length ? train.at(-1).step : 0);
  } else point(view, view.at);
  view.svg.setAttribute("aria-valuemax", total);
}

function grid(view, top, low) {
  const lines = (view.log ? powers(top, low) : ticks(top, 5)).flatMap((value) => [
    el("line", { x1: LEFT, x2: view.width - RIGHT, y1: view.y(value), y2: view.y(value), class: "ts-grid" }),
    view.train.length ? el("text", { x: LEFT - 8, y: view.y(value) + 4, "text-anchor": "end" }, String(value)) : null,
  ]);
  const steps = ticks(view.total, view.width < 500 ? 4 : 7).filter(Number.isInteger).map((step) => {
    const anchor = step === 0 ? "start" : view.x(step) > view.width - 40 ? "end" : "middle";
    return el("text", { x: view.x(step), y: HEIGHT - 6, "text-anchor": anchor }, count(step));
  });
  return [...lines, ...steps];
}

/* Put the cursor on the step nearest to `step`, and say what was measured there. */
function point(view, step) {
  if (!view.train.length) return;
  const i = nearest(view.train, step), here = view.train[i];
  view.at = here.step;
  const check = view.held.length ? view.held[nearest(view.held, here.step)] : null;
  const near = check && Math.abs(check.step - here.step) <= view.total / 40 ? check : null;
  put(view.cursor,
    el("line", { x1: view.x(here.step), x2: view.x(here.step), y1: TOP, y2: HEIGHT - BOTTOM }),
    el("circle", { cx: view.x(here.step), cy: view.y(here.loss), r: 3.5 }));
  const held = near ? `, held-out loss ${loss(near.loss)}${near.step === here.step ? "" : ` at step ${count(near.step)}`}` : "";
  const told = `Step ${count(here.step)}: training loss ${loss(here.loss)} (smoothed ${loss(view.smooth[i].loss)})${held}`;
  say(view, told, told);
  view.svg.setAttribute("aria-valuenow", here.step);
}

function walk(view, event) {
  const last = view.train.length - 1;
  if (last < 0) return;
  const now = view.at === null ? last : nearest(view.train, view.at), far = Math.max(1, Math.round(last / 20));
  const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - far, PageUp: now + far, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  point(view, view.train[Math.min(last, Math.max(0, to))].step);
}

function leave(view) {
  view.at = null;
  view.cursor.replaceChildren();
  say(view, view.train.length ? HOW : "The curve begins with the first step.");
}

function say(view, text, aloud) {
  if (view.read.textContent !== text) view.read.textContent = text;
  if (aloud) view.svg.setAttribute("aria-valuetext", aloud);
}

/* Index of the point whose step is nearest. */
function nearest(points, step) {
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle].step < step) low = middle;
    else high = middle;
  }
  return step - points[low].step <= points[high].step - step ? low : high;
}

/* Round values from 0 to at most `top`. */
export function ticks(top, most) {
  const raw = top / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
  const found = [];
  for (let i = 0; i * step <= top * 1.0001; i += 1) found.push(Number((i * step).toPrecision(6)));
  return found;
}

/* Powers of ten between `low` and `top`, with 2 and 5 times them where these are few. */
function powers(top, low) {
  const wide = Math.log10(top / low) > 2.5;
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(top); power += 1) {
    for (const factor of wide ? [1] : [1, 2, 5]) {
      const value = Number((factor * 10 ** power).toPrecision(3));
      if (value >= low && value <= top) found.push(value);
    }
  }
  return found;
}

/* Points at least a pixel or two apart, the last among them. */
export function thinned(points, total) {
  let next = 0;
  return points.filter((point, i) => {
    if (point.step < next && i !== points.length - 1) return false;
    next = point.step + total / MOST_POINTS;
    return true;
  });
}

/* Mean of the past with weights that fade over a sixtieth of the run, however far apart the points stand. */
export function smoothed(points, total) {
  let mean = points[0].loss, last = points[0].step;
  return points.map((point) => {
    mean += (1 - Math.exp((-60 * (point.step - last)) / total)) * (point.loss - mean);
    last = point.step;
    return { step: point.step, loss: mean };
  });
}
