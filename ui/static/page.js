import { rail } from "./rail.js";
import { run } from "./run.js";
import { steps } from "./steps.js";

/* What is set going in each view; see VIEWS in ui/theme.py. */
const VIEWS = { run, new: steps };

const asked = new URLSearchParams(window.location.search);
const { view } = document.documentElement.dataset;
rail(asked.get("run"));
VIEWS[view]?.(asked.get(view));
