"""Cuts the general text from its source: `python samples/make_general.py PATH/OF/wiki_demo.txt`.

An equal source gives an equal file, byte for byte; SOURCE.md names the source and the sums.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
METER_CHARACTERS, REPLAY_CHARACTERS = 700, 1800
REPLAYED = 6
"""Passages of an article that a model may read again."""
LEAST = 4000
"""Characters of an article that is used."""
METERS = 20
_SENTENCE_END = re.compile(r"(?<=[.!?]) ")


def passages(source: Path) -> list[dict[str, str]]:
    """The beginning of each article to measure by, then passages to read again, all at whole sentences."""
    found: list[dict[str, str]] = []
    articles = [line for line in source.read_text(encoding="utf-8").splitlines() if len(line) >= LEAST]
    for number, article in enumerate(articles):
        sentences = _SENTENCE_END.split(article)
        if number < METERS:
            found.append({"use": "meter", "text": _taken(sentences, METER_CHARACTERS)})
        for _ in range(REPLAYED):
            if sum(map(len, sentences)) < REPLAY_CHARACTERS:
                break
            found.append({"use": "replay", "text": _taken(sentences, REPLAY_CHARACTERS)})
    return found


def _taken(sentences: list[str], characters: int) -> str:
    """Sentences of about so many characters, taken off the beginning of the list."""
    text = sentences.pop(0)
    while sentences and len(text) < characters:
        text += " " + sentences.pop(0)
    return text


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    path = HERE / "general.jsonl"
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for passage in passages(Path(sys.argv[1])):
            file.write(json.dumps(passage, ensure_ascii=False) + "\n")
    print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)


if __name__ == "__main__":
    main()
