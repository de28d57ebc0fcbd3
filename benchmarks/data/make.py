"""Cuts the benchmark's data from its source: `python benchmarks/data/make.py PATH/OF/train.csv`.

An equal source gives an equal file, byte for byte; SOURCE.md names the source and the sums.
"""

from __future__ import annotations

import csv
import hashlib
import random
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent / "banking77-slice.csv"
SEED = 7
ROWS = 15
"""Of each of the 77 intents."""


def main() -> None:
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if "\n" not in row["text"]]
    chosen = []
    for intent in sorted({row["category"] for row in rows}):
        texts = sorted({row["text"].strip() for row in rows if row["category"] == intent})
        drawn = random.Random(f"{SEED}:{intent}").sample(texts, ROWS)
        chosen += [{"text": text, "intent": intent.replace("_", " ")} for text in drawn]
    random.Random(SEED).shuffle(chosen)
    with open(FILE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("text", "intent"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen)
    print(f"{len(chosen)} rows, sha256 {hashlib.sha256(FILE.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
