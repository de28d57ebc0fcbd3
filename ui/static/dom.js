/* Elements, figures in words, and requests to the server. Whatever comes from a run is put in as text, never as markup. */

const DRAWN = new Set(["svg", "path", "line", "rect", "circle", "text", "g", "title"]);

export function el(tag, attributes = {}, ...children) {
  const space = DRAWN.has(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
  const node = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter(there));
  return node;
}

export function put(node, ...children) {
  node.replaceChildren(...children.filter(there));
}

function there(child) {
  return child !== null && child !== undefined && child !== false;
}

/* Resolves when the element is on the page: Gradio draws after this script has started. */
export function found(id) {
  return new Promise((resolve) => {
    const look = () => document.getElementById(id);
    if (look()) return resolve(look());
    const watcher = new MutationObserver(() => {
      if (look()) {
        watcher.disconnect();
        resolve(look());
      }
    });
    watcher.observe(document.documentElement, { childList: true, subtree: true });
  });
}

/* JSON from one of our routes, which may be given some. Throws an Error with `problem` and `fix` where the server refuses. */
export async function ask(path, method = "GET", body = undefined) {
  const given = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(address(path), { method, headers: { Accept: "application/json", ...given }, cache: "no-cache", body: body && JSON.stringify(body) });
  const record = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(record.problem), record);
  return record;
}

export function address(path) {
  return new URL(`tunesmith/${path}`, document.baseURI).href;
}

export const share = (value) => (there(value) ? `${(100 * value).toFixed(1)} %` : "–");
export const count = (value) => value.toLocaleString("en");
export const loss = (value) => (there(value) ? (value < 0.01 ? value.toPrecision(2) : value.toFixed(3)) : "–");

/* A number of any size, with four digits that count. */
export const digits = (value) => (there(value) ? Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 }) : "–");

/* A score in its unit: shares as per cent, values in the data's own unit, bits and nats as they are. */
export const figure = (value, unit = "share") => (unit === "share" ? share(value) : unit === "value" ? digits(value) : loss(value));
/* The two ends of an interval, without the unit. */
export const between = (low, high, unit = "share") => [low, high].map((end) => figure(end, unit).replace(" %", "")).join(" to ");

export function size(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
