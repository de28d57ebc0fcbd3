/* Focus that an act takes away, because its button is disabled or gone, comes back to it or to what stands there now. */

const CAN_BE = "a[href], button, input, select, textarea, summary, [tabindex]";

/* Called before the change; what it returns, after it. `instead` gives what is focused where the element can't be any more. */
export function keepFocus(instead = () => null) {
  const held = document.activeElement;
  return () => {
    const now = document.activeElement;
    if (!held || held === document.body || (now && now !== held && now !== document.body)) return;
    const place = [held, instead()].find((node) => node?.isConnected && !node.disabled && node.getClientRects().length);
    if (place) land(place);
  };
}

/* Focus on anything, also on what one can't come to with Tab. */
export function land(node) {
  if (!node.matches(CAN_BE)) node.tabIndex = -1;
  node.focus();
}
