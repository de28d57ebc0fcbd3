"""Child process of engine.evaluate: a request as JSON on standard input, the scores as JSON on standard output."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from engine.compute.result import open_result
from engine.data import example as examples_file
from engine.errors import UserError
from engine.judging.by_label import by_label
from engine.planning.jobs import held_out


def scores(request: dict[str, Any]) -> dict[str, Any]:
    job, model = open_result(Path(request["run"]), base=request["base"])
    rows = examples_file.load(Path(request["rows"])) if request["rows"] else held_out(job)[1]
    if not rows:
        raise UserError("The run holds out no rows, so there is nothing to score.", "Give a file with --data.")
    found = job.objective.score(job, model, rows, lambda done, total: None)
    labels = by_label([], found.rows) if job.objective.tells_labels(job.objective_settings) else None
    told = {"by_label": labels.as_dict(), "lines": labels.lines()} if labels else {}
    return {"main": found.main, "metrics": found.metrics, "rows": len(found.rows), **told}


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):  # libraries print; our standard output holds the answer alone
        try:
            answer = scores(json.load(sys.stdin))
        except UserError as error:
            answer = {"problem": error.problem, "fix": error.fix}
    print(json.dumps(answer))
