/* How long rows are, and the line at which they are cut: a picture whose line can be moved, with the pointer or keys.
   The figures are those of ui/lengths.py; what a cut does is counted here, while the line moves. */

import { count, el, put } from "./dom.js";

const HEIGHT = 150, TOP = 8, BOTTOM = 24;
const KEYS_MS = 1100;
const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 8, PageDown: -8, Home: -Infinity, End: Infinity };

/* Started by ui/screens/longest_row.py: whatever picture of lengths comes onto the page is drawn. */
export function line(element, trigger) {
  let focus = false;
  const put = (tokens, byKey) => {
    focus = byKey;
    trigger("change", { max_tokens: tokens });
  };
  const look = () => {
    for (const figure of document.querySelectorAll(".ts-lengths:not([data-drawn])")) {
      figure.dataset.drawn = "";
      const handle = picture(figure, JSON.parse(figure.dataset.lengths), put);
      if (focus) handle.focus();
      focus = false;
    }
  };
  new MutationObserver(look).observe(element.closest(".ts-main") ?? document.body, { childList: true, subtree: true });
  look();
}

/* What a cut at a stop does: how many rows it shortens, and of how many the whole answer is gone. */
export function cut({ rows, answers, total }, at) {
  const beyond = (counts) => counts.slice(at + 1).reduce((sum, number) => sum + number, 0);
  return { cut: beyond(rows), lost: beyond(answers), total };
}

export function told(tokens, { cut: shortened, lost, total }) {
  const head = `Longest row ${count(tokens)} tokens: `;
  if (!shortened) return `${head}no row is cut.`;
  const answers = lost ? `${count(lost)} of them ${lost === 1 ? "loses" : "lose"} all of the answer` : "all keep some of their answer";
  return `${head}${count(shortened)} of ${count(total)} rows ${shortened === 1 ? "is" : "are"} cut; ${answers}.`;
}

function picture(figure, data, put_) {
  const { stops } = data;
  const last = stops.length - 1;
  // Beyond the longest row the line stands at the end, and the setting is what it is.
  const start = data.max_tokens >= stops[last] ? last : Math.max(0, stops.findIndex((stop) => stop >= data.max_tokens));
  const view = { at: start, moved: false, timer: 0 };
  const width = () => Math.max(260, figure.clientWidth);
  const svg = el("svg", { role: "presentation" });
  const says = el("p", { class: "ts-lengths-says", "aria-live": "off" });
  const tokens = () => (view.moved || data.max_tokens < stops[last] ? stops[view.at] : data.max_tokens);
  let handle;

  const draw = () => {
    const w = width(), slot = w / stops.length, most = Math.max(...data.rows);
    const tall = (number) => (number ? Math.max(2, (number / most) * (HEIGHT - TOP - BOTTOM)) : 0);
    const x = (view.at + 1) * slot;
    svg.setAttribute("viewBox", `0 0 ${w} ${HEIGHT}`);
    handle ??= el("g", { class: "ts-line", tabindex: "0", role: "slider", "aria-label": "Where rows are cut, in tokens", "aria-valuemin": stops[0], "aria-valuemax": stops[last] });
    const bars = data.rows.map((number, i) => {
      const high = tall(number);
      return el("rect", { class: i > view.at ? "ts-bar-cut" : "ts-bar-kept", x: i * slot, y: HEIGHT - BOTTOM - high, width: Math.max(1, slot - (slot > 4 ? 1 : 0)), height: high });
    });
    const marks = [...new Set([0, Math.round(last / 2), last])].map((i) => {
      const anchor = i === 0 ? "start" : i === last ? "end" : "middle";
      return el("text", { x: i === 0 ? 0 : i === last ? w : (i + 1) * slot, y: HEIGHT - 6, "text-anchor": anchor }, count(stops[i]));
    });
    put(
      handle,
      el("rect", { class: "ts-grip-room", x: x - 22, y: 0, width: 44, height: HEIGHT - BOTTOM + 6 }),
      el("line", { x1: x, x2: x, y1: 0, y2: HEIGHT - BOTTOM }),
      el("rect", { class: "ts-grip", x: x - 5, y: TOP + 14, width: 10, height: 30, rx: 5 }),
    );
    // The handle stays the same element while it is moved: one that is put in anew loses focus and pointer.
    [...svg.children].forEach((child) => child !== handle && child.remove());
    if (!handle.isConnected) svg.append(handle);
    handle.before(el("line", { class: "ts-grid", x1: 0, x2: w, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }), ...bars, ...marks);
    const words = told(tokens(), cut(data, view.at));
    says.textContent = words;
    handle.setAttribute("aria-valuenow", Math.min(tokens(), stops[last]));
    handle.setAttribute("aria-valuetext", words);
  };

  const move = (at) => {
    const next = Math.min(last, Math.max(0, at));
    // While a fresh plan is made the line stays where the plan will have it.
    if (next === view.at || figure.hasAttribute("aria-busy")) return;
    view.at = next;
    view.moved = true;
    draw();
  };
  const done = (byKey) => {
    clearTimeout(view.timer);
    if (!view.moved || view.at === start || figure.hasAttribute("aria-busy")) return;
    figure.setAttribute("aria-busy", "true");
    says.textContent = `${told(tokens(), cut(data, view.at))} Making a fresh plan…`;
    put_(stops[view.at], byKey);
    // Where the server refuses, the page says why, and the line can be moved again.
    setTimeout(() => figure.removeAttribute("aria-busy"), 5000);
  };

  draw();
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    move(place(event));
    handle.focus({ preventScroll: true });
  });
  svg.addEventListener("pointermove", (event) => svg.hasPointerCapture(event.pointerId) && move(place(event)));
  svg.addEventListener("pointerup", () => done(false));
  handle.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (event.key === "Enter") return done(true);
    if (step === undefined) return;
    event.preventDefault();
    move(Number.isFinite(step) ? view.at + step : step < 0 ? 0 : last);
    clearTimeout(view.timer);
    view.timer = setTimeout(done, KEYS_MS, true);
  });
  new ResizeObserver(draw).observe(figure);
  figure.append(svg, says);
  return handle;

  function place(event) {
    const { left, width: wide } = svg.getBoundingClientRect();
    return Math.round(((event.clientX - left) / wide) * stops.length) - 1;
  }
}
