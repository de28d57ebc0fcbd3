import { chain } from "./chain.js";
import { compare } from "./compare.js";
import { keyboard } from "./keyboard.js";
import { method } from "./method.js";
import { notify } from "./notify.js";
import { push } from "./push.js";
import { rail } from "./rail.js";
import { run } from "./run.js";
import { runs } from "./runs.js";
import { said } from "./said.js";
import { settings } from "./settings.js";
import { shortcuts } from "./shortcuts.js";
import { steps } from "./steps.js";
import { streams } from "./streams.js";

/* What is set going in each view; see VIEWS in ui/theme.py. */
const VIEWS = { run, runs, compare, settings, new: method };

const asked = new URLSearchParams(window.location.search);
const { view } = document.documentElement.dataset;
streams();
notify();
keyboard();
shortcuts(view);
rail(asked.get("run"));
VIEWS[view]?.(asked.get(view));
if (view === "run") {
  chain(asked.get("run"));
  said();
  push();
}
if (view === "new") steps();
