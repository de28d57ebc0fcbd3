"""One row as a model meets it, after columns and formats are sorted out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SplitName = Literal["train", "validation", "test"]
Mark = tuple[int, int, str]
"""Begin, end (in characters) and label of marked words."""


@dataclass(frozen=True)
class Example:
    """`messages` for objectives that converse, `text` and `label` for those that classify; `second` for pairs of texts.

    `label` is the answer as a person reads it; of several `labels` holds each, `number` the value of a number, and
    `marks` the marked words of `text`.

    row: position in the source, counted from 1. source: index of the data entry in the spec.
    A message is {"role": "system" | "user" | "assistant" | "tool", "content": str}.
    """

    row: int
    split: SplitName = "train"
    source: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    label: str = ""
    tools: list[dict[str, Any]] | None = None
    second: str = ""
    """The text that is read beside `text`, such as a hypothesis beside its premise."""
    labels: list[str] | None = None
    """Of a row that may have several; an empty list is a row without any."""
    number: float | None = None
    marks: list[Mark] | None = None
    """Of a row whose words are marked, in their order; an empty list is a row without any. A part of a longer text may
    have some that begin before it or end behind it."""
    core: tuple[int, int] | None = None
    """Of a part of a longer text: from where to where its words count. The rest is read, and counts in another part."""
    before: str = ""
    """What is read before the text: the name of its data set, where a run has it there (see `Objective.prefixed`)."""

    def __post_init__(self) -> None:
        if self.marks is not None:  # files hold lists
            object.__setattr__(self, "marks", [(begin, end, label) for begin, end, label in self.marks])
        if self.core is not None:
            object.__setattr__(self, "core", (self.core[0], self.core[1]))

    @property
    def read(self) -> str:
        """The text, or both, as a person reads them."""
        return f"{self.text}\n{self.second}" if self.second else self.text

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """The conversation up to the last answer."""
        return self.messages[: self._last_answer()]

    @property
    def answer(self) -> str:
        """The last answer, which held-out rows are scored on; "" where there is none."""
        index = self._last_answer()
        return str(self.messages[index]["content"]) if index < len(self.messages) else ""

    def _last_answer(self) -> int:
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index]["role"] == "assistant":
                return index
        return len(self.messages)

    def as_dict(self) -> dict[str, Any]:
        record: dict[str, Any] = {"row": self.row, "split": self.split, "source": self.source}
        if self.messages:
            record["messages"] = self.messages
        else:
            record |= {"text": self.text, "label": self.label, **({"second": self.second} if self.second else {})}
            record |= {} if self.labels is None else {"labels": self.labels}
            record |= {} if self.number is None else {"number": self.number}
            record |= {} if self.marks is None else {"marks": [list(mark) for mark in self.marks]}
            record |= {} if self.core is None else {"core": list(self.core)}
            record |= {"before": self.before} if self.before else {}
        if self.tools:
            record["tools"] = self.tools
        return record


def save(examples: list[Example], path: Path) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            file.write(json.dumps(example.as_dict(), ensure_ascii=False) + "\n")


def load(path: Path) -> list[Example]:
    # Split on "\n" alone: texts may hold other line separators.
    with open(path, encoding="utf-8", newline="\n") as file:
        return [Example(**json.loads(line)) for line in file]
