/* Weights of several data sets (ui/mix_view.py): a slider that is moved is told at once, and written to the input that
   keeps them all, from which the server draws the mix anew. */

let moved = null;

export function mix(write) {
  document.addEventListener("input", ({ target }) => {
    if (!target.matches?.(".ts-mix input[type=range]")) return;
    tell(target, target.closest(".ts-mix").dataset.scale.split(" ")[Number(target.value)]);
  });
  document.addEventListener("change", ({ target }) => {
    if (!target.matches?.(".ts-mix input[type=range]")) return;
    const all = [...target.closest(".ts-mix").querySelectorAll("input[type=range]")];
    moved = target === document.activeElement ? target.dataset.set : null;
    write(kept(), JSON.stringify(all.map(({ dataset }) => Number(dataset.weight))));
  });
  new MutationObserver((changes) => {
    if (!changes.some(({ addedNodes }) => [...addedNodes].some((node) => node instanceof Element && node.querySelector(".ts-weight")))) return;
    // The input has the last word: a slider may have moved on while the server drew them.
    const weights = kept()?.value ? JSON.parse(kept().value) : [];
    for (const slider of document.querySelectorAll(".ts-weight input")) {
      const weight = weights[Number(slider.dataset.set)];
      const scale = slider.closest(".ts-mix").dataset.scale.split(" ");
      if (weight === undefined || weight === Number(slider.dataset.weight)) continue;
      if (scale.includes(String(weight))) slider.value = scale.indexOf(String(weight));
      tell(slider, weight);
    }
    // Drawn anew, it has its focus back.
    if (moved === null || document.activeElement !== document.body) return;
    const again = document.querySelector(`.ts-mix input[data-set="${moved}"]`);
    if (!again) return;
    moved = null;
    again.focus();
  }).observe(document.body, { childList: true, subtree: true });
}

function tell(slider, weight) {
  slider.dataset.weight = weight;
  slider.setAttribute("aria-valuetext", `${weight} times`);
  slider.nextElementSibling.textContent = weight;
}

function kept() {
  return document.querySelector("#ts-weights :is(textarea, input)");
}
