/* What Gradio's own parts owe to people who go by keyboard. */

const CLOSE = '[data-testid="toast-close"]';

export function keyboard() {
  messages();
  lists();
}

/* Escape closes a message, and whoever closes one goes on where they were. Its head is a button around the button that
   closes it, which screen readers can't tell apart; it becomes plain. */
function messages() {
  let before = null;
  document.addEventListener("focusin", ({ target }) => {
    if (!target.closest(".toast-wrap")) before = target;
  });
  // On its way down: Gradio lets the click go no further.
  const close = ({ target }) => {
    if (target.closest(CLOSE) && document.activeElement.closest(".toast-wrap") && before?.isConnected) before.focus();
  };
  document.addEventListener("click", close, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) document.querySelector(CLOSE)?.click();
  });
  new MutationObserver(() => {
    for (const head of document.querySelectorAll(".toast-header[role]")) ["role", "tabindex"].forEach((name) => head.removeAttribute(name));
  }).observe(document.body, { childList: true, subtree: true });
}

/* A list of choices that Tab leaves is opened again by the key itself, and stays; so Tab does not reach it. */
function lists() {
  const leave = (event) => {
    if (event.key === "Tab" && event.target.matches?.("[role=combobox]")) event.stopPropagation();
  };
  document.addEventListener("keydown", leave, true);
}
