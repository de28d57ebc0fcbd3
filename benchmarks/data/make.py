"""Cuts the benchmark's data from its source: `python benchmarks/data/make.py PATH/OF/train.csv PATH/OF/test.csv`.

Equal sources give an equal file, byte for byte; SOURCE.md names the sources and the sums.
"""

from __future__ import annotations

import csv
import hashlib
import random
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent / "banking77-slice.csv"
SEED = 7
LEARNED = {"train": 25, "validation": 4}
SCORED = {"test": 20}
"""Rows of each of the 77 intents, from the source's two files."""


def main() -> None:
    train, test = map(_texts, sys.argv[1:])
    chosen = [row for intent, texts in train.items() for row in _drawn(intent, texts, LEARNED)]
    learned = {row["text"].casefold() for row in chosen}
    for intent, texts in test.items():
        chosen += _drawn(intent, [text for text in texts if text.casefold() not in learned], SCORED)
    random.Random(SEED).shuffle(chosen)
    with open(FILE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("text", "intent", "split"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen)
    print(f"{len(chosen)} rows, sha256 {hashlib.sha256(FILE.read_bytes()).hexdigest()}")


def _texts(path: str) -> dict[str, list[str]]:
    """The different one-line texts of each intent."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if "\n" not in row["text"]]
    intents = sorted({row["category"] for row in rows})
    return {intent: sorted({row["text"].strip() for row in rows if row["category"] == intent}) for intent in intents}


def _drawn(intent: str, texts: list[str], counts: dict[str, int]) -> list[dict[str, str]]:
    drawn = random.Random(f"{SEED}:{intent}").sample(texts, sum(counts.values()))
    splits = [split for split, count in counts.items() for _ in range(count)]
    name = intent.replace("_", " ")
    return [{"text": text, "intent": name, "split": split} for text, split in zip(drawn, splits, strict=True)]


if __name__ == "__main__":
    main()
