"""Cuts the sample data set from its source: `python samples/make.py PATH/OF/train.csv`.

An equal source gives an equal file, byte for byte; SOURCE.md names the source and the sums.
"""

from __future__ import annotations

import csv
import hashlib
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 7
ROWS = 50
INTENTS = [
    "activate_my_card",
    "age_limit",
    "apple_pay_or_google_pay",
    "atm_support",
    "automatic_top_up",
    "cancel_transfer",
    "card_arrival",
    "change_pin",
    "edit_personal_details",
    "exchange_rate",
    "lost_or_stolen_phone",
    "terminate_account",
]


def banking(source: Path) -> list[dict[str, str]]:
    """50 different one-line messages for each of the 12 intents, in random order, intents in plain words."""
    with open(source, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = []
    for intent in INTENTS:
        texts: dict[str, str] = {}
        for row in rows:
            if row["category"] == intent and row["text"] == row["text"].strip() and "\n" not in row["text"]:
                texts.setdefault(" ".join(row["text"].casefold().split()).rstrip(".?!"), row["text"])
        drawn = random.Random(f"{SEED}:{intent}").sample(list(texts.values()), ROWS)
        chosen += [{"text": text, "intent": intent.replace("_", " ")} for text in drawn]
    random.Random(SEED).shuffle(chosen)
    return chosen


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    path = HERE / "banking-intents.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "intent"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(banking(Path(sys.argv[1])))
    print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)


if __name__ == "__main__":
    main()
