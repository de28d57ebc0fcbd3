"""Several tasks in one run beside a run of each: `python -m benchmarks.mixture --spam SMS.tsv --nli HELP.tsv`.

SmolLM2-135M answers three kinds of question (chat, LoRA): which of 12 intents a bank's customer has (the sample),
whether a message is spam, and whether one sentence follows from another. Each alone, all mixed by size, and all mixed
equally; every run makes two passes over its rows. The files are the SMS Spam Collection (label and text, tab separated)
and HELP (github.com/verypluming/HELP, leskexppmb_and.tsv), which are not part of this project. A finished run is a line
of `benchmarks/results/mixture.jsonl`; what stands there already is not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.methods import finished
from benchmarks.record import keep, kept
from engine import demo
from engine.data.mixture import names as names_of
from engine.events import Failed
from engine.specs.spec import RunSpec

NAME = "mixture"
SEEDS = (1, 2, 3)
DRAWN_WITH = 7
LEARNED, HELD_OUT = {"intents": 480, "spam": 240, "nli": 240}, 120
SPLIT = {"test_rows": HELD_OUT, "validation_rows": 0, "validation": 0.0}
ASKED = {
    "spam": "Is this message spam or ham?",
    "nli": "Does the second sentence follow from the first? Answer entailment or neutral.",
}
TASKS = tuple(LEARNED)
WAYS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    **{task: ((task,), {}) for task in TASKS},
    "by size": (TASKS, {"by": "size"}),
    "equal": (TASKS, {"by": "equal"}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Tasks mixed beside each alone; finished rows are kept.")
    parser.add_argument("--spam", type=Path, required=True, help="label and text of SMS, tab separated")
    parser.add_argument("--nli", type=Path, required=True, help="HELP's pairs of sentences, tab separated")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one")
    parser.add_argument("--seed", type=int, action="append", help="only this one")
    options = parser.parse_args()
    there = {(row["way"], row["seed"]) for row in kept(NAME)}
    with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as place:
        files = {
            "spam": written(Path(place) / "spam.csv", _messages(options.spam)),
            "nli": written(Path(place) / "nli.csv", _pairs(options.nli)),
        }
        for seed in options.seed or SEEDS:
            for way in options.way or WAYS:
                if (way, seed) not in there:
                    row = {"way": way, "seed": seed, **measured(spec(way, seed, files), WAYS[way][0])}
                    keep(NAME, row)
                    print(json.dumps(row), flush=True)
    return 0


def spec(way: str, seed: int, files: dict[str, Path]) -> RunSpec:
    whole = demo.spec().as_dict()
    tasks, mixture = WAYS[way]

    def data(task: str) -> dict[str, Any]:
        if task == "intents":
            return dict(whole["data"][0])
        columns = {"text": "text", "label": "label"}
        return {"source": str(files[task]), "columns": columns, "system": ASKED[task], "split": SPLIT}

    return RunSpec.parse(
        {
            **whole,
            "data": [data(task) for task in tasks],
            **({"mixture": mixture} if mixture else {}),
            "training": {**whole["training"], "epochs": 2, "seed": seed},
            "evaluation": {"before": False, "max_rows": len(tasks) * HELD_OUT},
        }
    )


def measured(made: RunSpec, tasks: tuple[str, ...]) -> dict[str, Any]:
    """The share of right answers to each task, with its interval; or why there is none."""
    folders: list[Path] = []
    done = finished(made, folders.append)
    if isinstance(done, Failed):
        return {"failed": done.problem}
    names = [f"exact_match, task {name}" for name in names_of(made.data)] if len(tasks) > 1 else ["exact_match"]
    after = done.metrics["after"]
    scores = {
        task: [round(after[f"{name}{end}"], 4) for end in ("", "_low", "_high")]
        for task, name in zip(tasks, names, strict=True)
    }
    return {"tasks": scores, "seconds": done.seconds}


def written(file: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """As many rows of each label as are wanted of the task, drawn by a fixed seed, in a mixed order."""
    texts: dict[str, list[str]] = {}
    for label, text in rows:
        texts.setdefault(label, []).append(text)
    draw = random.Random(DRAWN_WITH)
    each = (LEARNED[file.stem] + HELD_OUT) // len(texts)
    chosen = [(text, label) for label in sorted(texts) for text in draw.sample(sorted(set(texts[label])), each)]
    draw.shuffle(chosen)
    with open(file, "w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *chosen])
    return file


def _messages(file: Path) -> Iterable[tuple[str, str]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        label, _, text = line.partition("\t")
        yield label, text.strip()


def _pairs(file: Path) -> Iterable[tuple[str, str]]:
    with open(file, encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["gold_label"] in ("entailment", "neutral"):
                yield row["gold_label"], f"{row['ori_sentence'].strip()}\n{row['new_sentence'].strip()}"


if __name__ == "__main__":
    sys.exit(main())
