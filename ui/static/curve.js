/* The loss of a run as a picture. */

import { count, el, loss } from "./dom.js";

const HEIGHT = 240, LEFT = 40, RIGHT = 10, TOP = 10, BOTTOM = 26;
const MOST_POINTS = 300;

/* train and held: lists of {step, loss}, by step. total: steps of the whole run. width: in pixels. */
export function curve(train, held, total, width) {
  const top = [...train, ...held].reduce((most, point) => Math.max(most, point.loss), 0) * 1.04 || 1;
  const x = (step) => LEFT + (step / total) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - Math.min(value, top) / top) * (HEIGHT - TOP - BOTTOM);
  const path = (points) => points.map((p, i) => `${i ? "L" : "M"}${x(p.step).toFixed(1)} ${y(p.loss).toFixed(1)}`).join("");
  const said = held.length ? `, held-out loss ${loss(held[0].loss)} to ${loss(held.at(-1).loss)}` : "";
  const picture = el("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: "img",
    "aria-label": `Training loss from ${loss(train[0].loss)} to ${loss(train.at(-1).loss)} at step ${train.at(-1).step} of ${total}${said}`,
  });
  for (const value of ticks(top, 5)) {
    picture.append(
      el("line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value), class: "ts-grid" }),
      el("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, String(value)),
    );
  }
  for (const step of ticks(total, width < 500 ? 4 : 7)) {
    const anchor = step === 0 ? "start" : x(step) > width - 40 ? "end" : "middle";
    picture.append(el("text", { x: x(step), y: HEIGHT - 6, "text-anchor": anchor }, count(step)));
  }
  picture.append(el("path", { d: path(thinned(train, total)), class: "ts-raw" }));
  picture.append(el("path", { d: path(thinned(smoothed(train, total), total)), class: "ts-smooth" }));
  if (held.length > 1) picture.append(el("path", { d: path(held), class: "ts-held" }));
  held.forEach((p) => picture.append(el("circle", { cx: x(p.step), cy: y(p.loss), r: 3.5, class: "ts-held-dot" })));
  return el(
    "figure",
    { class: "ts-curve" },
    el(
      "figcaption",
      {},
      el("span", {}, "Training loss"),
      held.length ? el("span", { class: "ts-key-held" }, "Held-out loss") : null,
      "in nats a token, over steps; lower is better",
    ),
    picture,
  );
}

/* Round values from 0 to at most `top`. */
function ticks(top, most) {
  const raw = top / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
  const found = [];
  for (let i = 0; i * step <= top * 1.0001; i += 1) found.push(Number((i * step).toPrecision(6)));
  return found;
}

/* Points at least a pixel or two apart, the last among them. */
function thinned(points, total) {
  let next = 0;
  return points.filter((point, i) => {
    if (point.step < next && i !== points.length - 1) return false;
    next = point.step + total / MOST_POINTS;
    return true;
  });
}

/* Mean of the past with weights that fade over a sixtieth of the run, however far apart the points stand. */
function smoothed(points, total) {
  let mean = points[0].loss, last = points[0].step;
  return points.map((point) => {
    mean += (1 - Math.exp((-60 * (point.step - last)) / total)) * (point.loss - mean);
    last = point.step;
    return { step: point.step, loss: mean };
  });
}
