/* On a phone Gradio draws the steps of a new run as bars without words: here they get their names back, for the ear.
   And whoever goes to another step is led there: the button that they pressed is hidden with the step before. */

import { found } from "./dom.js";
import { land } from "./focus.js";

export async function steps() {
  const titles = JSON.parse((await found("ts-steps")).dataset.titles);
  const name = () => {
    for (const button of document.querySelectorAll(".step-button[data-tab-id]:not([aria-label])")) {
      const title = titles[button.dataset.tabId];
      if (title) button.setAttribute("aria-label", title);
    }
  };
  let at = null;
  const lead = () => {
    const now = document.querySelector('.step-button[aria-selected="true"]')?.dataset.tabId;
    const left = at !== null && now !== at;
    at = now ?? null;
    if (!left) return;
    // The next picture: only then is the step before hidden, and the focus with it.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const here = document.activeElement;
      if (here && here !== document.body && here.getClientRects().length) return;
      const title = [...document.querySelectorAll(".ts-view-new h1")].find((head) => head.getClientRects().length);
      if (title) land(title);
    }));
  };
  const look = () => (name(), lead());
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
  look();
}
