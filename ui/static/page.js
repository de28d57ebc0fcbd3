import { rail } from "./rail.js";
import { run } from "./run.js";

const id = new URLSearchParams(window.location.search).get("run");
rail(id);
if (id) run(id);
