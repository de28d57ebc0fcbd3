"""Writes tests/data/golden.json: the losses of four steps of every pair. Run it where a change of numbers is wanted.

`python -m tests.fakes.golden OBJECTIVE …` writes those of some objectives anew and leaves the others as they are.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import test_matrix
from tests.fakes import runs


def main(wanted: Sequence[str] = ()) -> None:
    known = json.loads(test_matrix.GOLDEN.read_text(encoding="utf-8")) if wanted else {}
    golden = {pair: losses for pair, losses in known.items() if pair.split()[0] not in wanted}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        tiny = test_matrix.made(place)
        for objective, tuner, kind in test_matrix.PAIRS:
            pair = f"{objective} {tuner} {kind}"
            if wanted and objective not in wanted:
                continue
            if test_matrix.works(objective, tuner, tiny[kind]) is None:
                spec = runs.spec(tiny[kind], test_matrix.goal(objective, kind, tiny), tuner)
                folder = runs.folder(place / f"{objective}-{tuner}-{kind}", spec)
                golden[pair] = test_matrix.trained(folder).reporter.losses
    test_matrix.GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
