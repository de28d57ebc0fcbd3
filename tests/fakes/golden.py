"""Writes tests/data/golden.json: the losses of four steps of every pair. Run it where a change of numbers is wanted.

With --new it keeps those that are there, adds what is missing and drops pairs that work no longer.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests import test_matrix
from tests.fakes import runs


def main(only_new: bool) -> None:
    golden = {}
    known = json.loads(test_matrix.GOLDEN.read_text(encoding="utf-8")) if only_new else {}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        tiny = test_matrix.made(place)
        for objective, tuner, kind in test_matrix.PAIRS:
            name = f"{objective} {tuner} {kind}"
            if name in known and test_matrix.works(objective, tuner, tiny[kind]) is None:
                golden[name] = known[name]
            elif test_matrix.works(objective, tuner, tiny[kind]) is None:
                spec = runs.spec(tiny[kind], test_matrix.goal(objective, kind, tiny), tuner)
                folder = runs.folder(place / f"{objective}-{tuner}-{kind}", spec)
                golden[name] = test_matrix.trained(folder).reporter.losses
    test_matrix.GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main("--new" in sys.argv[1:])
