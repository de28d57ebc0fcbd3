"""When two texts count as equal: by what they say, not by case, spaces or a full stop."""

from __future__ import annotations

import re
import unicodedata

from engine.data.example import Example

_SPACES = re.compile(r"\s+")
_LABEL_SPACES = re.compile(r"[\s_\-]+")
_LONGEST_CLASS = 100
_ENDS = " .!?…。！？"


def key(text: str) -> str:
    """Equal for texts that differ in case, spaces, Unicode form or end punctuation only."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    plain = _SPACES.sub(" ", plain).strip().casefold()
    return plain.rstrip(_ENDS) or plain


def label_key(label: str) -> str:
    """Equal for labels that differ in case, spaces, underscores or hyphens only."""
    return _LABEL_SPACES.sub(" ", label).strip(" ").casefold()


def prompt_key(example: Example) -> str:
    """The key of what the model is asked: the text, or all turns before the last answer but system messages."""
    if not example.messages:
        return f"{key(example.text)}\n{key(example.second)}" if example.second else key(example.text)
    return "\n".join(key(message["content"]) for message in example.prompt if message["role"] != "system")


def prompt_keys(examples: list[Example]) -> list[str]:
    return [prompt_key(example) for example in examples]


def label_keys(labels: list[str]) -> list[str]:
    """`label_key` of each, worked out once for equal labels."""
    keys = {label: label_key(label) for label in dict.fromkeys(labels)}
    return [keys[label] for label in labels]


def classes(examples: list[Example]) -> list[str] | None:
    """The answer of each example where answers are classes: labels, or few short answers to single questions."""
    answers = [answer(example) for example in examples]
    if not examples or any(example.number is not None for example in examples):
        return None
    if all(not example.messages for example in examples):
        return answers if any(answers) else None
    single = all(sum(message["role"] != "system" for message in example.messages) <= 2 for example in examples)
    few = 2 <= len(set(answers)) <= len(answers) // 2 and max(map(len, answers)) <= _LONGEST_CLASS
    return answers if single and few else None


def named(example: Example) -> list[str]:
    """The labels of an example, of which it may have several or none: of marked words, the label of each mark."""
    if example.marks is not None:
        return [label for _, _, label in example.marks]
    return [answer(example)] if example.labels is None else example.labels


def answer(example: Example) -> str:
    return example.answer if example.messages else example.label
