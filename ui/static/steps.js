/* On a phone Gradio draws the steps of a new run as bars without words: here they get their names back, for the ear. */

import { found } from "./dom.js";

export async function steps() {
  const titles = JSON.parse((await found("ts-steps")).dataset.titles);
  const name = () => {
    for (const button of document.querySelectorAll(".step-button[data-tab-id]:not([aria-label])")) {
      const title = titles[button.dataset.tabId];
      if (title) button.setAttribute("aria-label", title);
    }
  };
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
}
