/* Weights of several data sets (ui/mix_view.py): a slider that is moved is told at once, and written to the input that
   keeps them all, from which the server draws the mix anew. */

let moved = null;

export function mix(write) {
  document.addEventListener("input", ({ target }) => {
    if (!target.matches?.(".ts-mix input[type=range]")) return;
    const scale = target.closest(".ts-mix").dataset.scale.split(" ");
    target.dataset.weight = scale[Number(target.value)];
    target.setAttribute("aria-valuetext", `${target.dataset.weight} times`);
    target.nextElementSibling.textContent = target.dataset.weight;
  });
  document.addEventListener("change", ({ target }) => {
    if (!target.matches?.(".ts-mix input[type=range]")) return;
    const all = [...target.closest(".ts-mix").querySelectorAll("input[type=range]")];
    moved = target === document.activeElement ? target.dataset.set : null;
    write(document.querySelector("#ts-weights :is(textarea, input)"), JSON.stringify(all.map(({ dataset }) => Number(dataset.weight))));
  });
  // Drawn anew, it has its focus back.
  new MutationObserver(() => {
    if (moved === null || document.activeElement !== document.body) return;
    const again = document.querySelector(`.ts-mix input[data-set="${moved}"]`);
    if (!again) return;
    moved = null;
    again.focus();
  }).observe(document.body, { childList: true, subtree: true });
}
