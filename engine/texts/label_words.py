"""Templates with a slot, and the words that stand for labels in it. Needs no torch.

Schick, Schütze 2020, arXiv 2001.07676 (PET); Gao, Fisch, Chen 2020, arXiv 2012.15723 (LM-BFF).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from engine.data.example import Example
from engine.errors import SettingError
from engine.texts.tokens import Tokens

TEXT, LABEL = "{text}", "{label}"
BETWEEN = "---"
"""A line of its own between two templates."""
_ANCHOR = "."
"""What stands before a word where the template has nothing there."""
_SHOWN = 5
BESIDE = 64
"""Tokens of label words that are read beside a row at once: each is a place at which all words are scored."""
TEMPLATE, WORDS = "Template (objective.template)", "Label words (objective.label_words)"


@dataclass(frozen=True)
class Template:
    """A text with a place for the row's and a slot for the label's word. Space before the slot is the word's."""

    left: str
    """What stands before the slot."""
    gap: str
    right: str
    """What stands after it."""

    @property
    def text_first(self) -> bool:
        return TEXT in self.left

    @property
    def anchor(self) -> str:
        """What of the template always stands before the slot: a word's tokens may depend on it."""
        return self.left.rpartition(TEXT)[2].lstrip() or _ANCHOR


@dataclass(frozen=True)
class Prompt:
    """A row's text in a template, as tokens without special ones: what stands before the slot and after it."""

    left: list[int]
    right: list[int]
    full_length: int
    """Before the text was cut."""


@dataclass(frozen=True)
class Slot:
    """What a model has to be asked to score every label's word in the slot, whatever the row.

    A label's score is the sum, or the mean, of the log-probabilities of its word's tokens. Words that share what they
    begin with are asked for together, so that labels of one token each need one reading of the row.
    """

    fillings: tuple[tuple[int, ...], ...]
    """Tokens that are put into the slot; each is one reading."""
    targets: tuple[tuple[tuple[int, int, int], ...], ...]
    """Of each label, its word's tokens: in which reading, at which place after the slot's first, and which token."""


def templates(text: str) -> tuple[Template, ...]:
    """Those of a setting, with lines "---" between them. Raises ValueError that says what is wrong."""
    return tuple(map(_template, texts(text)))


def texts(text: str) -> list[str]:
    """The templates of a setting, as they are written."""
    found: list[list[str]] = [[]]
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.strip() == BETWEEN:
            found.append([])
        else:
            found[-1].append(line)
    return ["\n".join(lines).strip("\n") for lines in found]


def miscounted(text: str) -> list[tuple[str, str, int]]:
    """The marks that don't stand once in a template: each with what it is for, and how often it stands there."""
    marks = ((TEXT, "the row's text"), (LABEL, "the word to be chosen"))
    return [(mark, what, text.count(mark)) for mark, what in marks if text.count(mark) != 1]


def _template(text: str) -> Template:
    for mark, what, count in miscounted(text):
        there = "it is missing" if not count else f"it stands there {count} times"
        raise ValueError(f"a text with one {mark}, for {what}: {there} in {text!r}")
    left, _, right = text.partition(LABEL)
    kept = left.rstrip()
    return Template(kept, left[len(kept) :], right)


@lru_cache(maxsize=64)
def given(text: str) -> Mapping[str, str]:
    """Label → word of lines "label = word". Raises ValueError that says what is wrong."""
    found: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        label, mark, word = (part.strip() for part in line.rpartition("="))
        if not mark or not label or not word:
            raise ValueError(f"a line such as 'label = word' for each label: {line.strip()!r} is none")
        if named(label) in found:
            raise ValueError(f"one line for each label: there are two for {label!r}")
        found[named(label)] = word
    return found


def written(words: Mapping[str, str]) -> str:
    """The inverse of `given`."""
    return "\n".join(f"{named(label)} = {word}" for label, word in words.items())


def require_one_text(rows: Sequence[Example]) -> None:
    """Raises SettingError for rows with two texts each."""
    if any(row.second for row in rows):
        raise SettingError(
            ["Rows with two texts each don't go into a template, which has one place for a text."],
            "Choose the objective classify, or one column of texts (data.columns.text), or put both columns into "
            "the data's prompt template.",
        )


def named(label: str) -> str:
    """A label as a line can hold it."""
    return " ".join(label.split())


def proposed(label: str) -> str:
    """The word for a label of which nobody said one: its own name."""
    return named(label.replace("_", " ")) or named(label)


def word_of(label: str, words: Mapping[str, str]) -> str:
    return words.get(named(label)) or proposed(label)


@lru_cache(maxsize=4096)
def word_ids(tokens: Tokens, template: Template, word: str) -> tuple[int, ...]:
    """A word's tokens, as they are after what stands before the slot."""
    return tuple(_after(tokens, template.anchor, template.gap + word)[0])


def resolved(
    tokens: Tokens, made: Sequence[Template], words: Mapping[str, str], labels: Sequence[str]
) -> dict[str, str]:
    """A word for every label: what was given, else proposals that differ from all others.

    Raises SettingError for labels that the data doesn't have, and where two have the same tokens or unknown ones.
    """
    strange = [f"{WORDS}: {one}" for one in no_labels(words, labels)]
    if strange:
        raise SettingError(strange, "Write the labels as they stand in the data, or leave the line out.")
    chosen = completed(tokens, made, words, labels)
    problems = list(dict.fromkeys(_problems(tokens, made, chosen)))
    if problems:
        raise SettingError(problems[:_SHOWN], "Give every label a word of its own that the model knows.")
    return chosen


def completed(
    tokens: Tokens, made: Sequence[Template], words: Mapping[str, str], labels: Sequence[str]
) -> dict[str, str]:
    """As `resolved`, with nothing refused: words of labels that the data doesn't have are passed over."""
    chosen = {label: words[named(label)] for label in labels if named(label) in words}
    taken = {ids: label for label, word in chosen.items() for ids in _all_ids(tokens, made, word)}
    for label in labels:
        if label not in chosen:
            chosen[label] = next(word for word in _proposals(label) if not _all_ids(tokens, made, word) & taken.keys())
            taken |= dict.fromkeys(_all_ids(tokens, made, chosen[label]), label)
    return {label: chosen[label] for label in labels}


def _proposals(label: str) -> list[str]:
    more = [f"{proposed(label)} {number}" for number in range(2, 1000)]
    return [proposed(label), named(label), *more]


def _all_ids(tokens: Tokens, made: Sequence[Template], word: str) -> set[tuple[int, ...]]:
    return {(place, *word_ids(tokens, template, word)) for place, template in enumerate(made)}


def _problems(tokens: Tokens, made: Sequence[Template], words: Mapping[str, str]) -> list[str]:
    problems = []
    for template in made:
        seen: dict[tuple[int, ...], str] = {}
        for label, word in words.items():
            ids = word_ids(tokens, template, word)
            if not ids or (tokens.unknown_id is not None and tokens.unknown_id in ids):
                problems.append(f"{WORDS}: the model has no tokens for {word!r}, the word of {label!r}.")
            elif ids in seen:
                both = f"{words[seen[ids]]!r} of {seen[ids]!r} and {word!r} of {label!r}"
                problems.append(f"{WORDS}: {both} are the same tokens, so that nothing tells these labels apart.")
            seen.setdefault(ids, label)
    return problems


def no_labels(words: Mapping[str, str], labels: Sequence[str]) -> list[str]:
    """Of words that were given for labels which no row has: that there is none, in a sentence each."""
    names = [named(label) for label in labels]
    return [_no_label(label, names) for label in words if label not in names]


def _no_label(label: str, known: list[str]) -> str:
    near = difflib.get_close_matches(label, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"no row has the label {label!r}.{hint} There are: {', '.join(known[:_SHOWN])}{more}."


def slot(words: Sequence[tuple[int, ...]], mask: int | None) -> Slot:
    """How to score these words. mask: a masked model's token, which stands for each token of a word; None: a causal
    model, which reads a word's tokens but the last to say how likely each is."""
    if mask is not None:
        counts = sorted({len(word) for word in words})
        targets = [[(counts.index(len(word)), at, token) for at, token in enumerate(word)] for word in words]
        return Slot(tuple((mask,) * count for count in counts), tuple(map(tuple, targets)))
    begun = sorted({word[:-1] for word in words})
    fillings = [one for one in begun if not any(other != one and other[: len(one)] == one for other in begun)]
    places = [next(at for at, one in enumerate(fillings) if one[: len(word) - 1] == word[:-1]) for word in words]
    return Slot(
        tuple(fillings),
        tuple(
            tuple((place, at - 1, token) for at, token in enumerate(word))
            for word, place in zip(words, places, strict=True)
        ),
    )


def grouped(fillings: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The numbers of fillings that a causal model reads beside the row in one sequence, of at most BESIDE tokens."""
    groups: list[list[int]] = []
    room = 0
    for number, one in enumerate(fillings):
        if not groups or len(one) > room:
            groups.append([])
            room = BESIDE
        groups[-1].append(number)
        room -= len(one)
    return groups


def beside(fillings: Sequence[tuple[int, ...]]) -> int:
    """Most tokens that stand beside a row in one sequence; 0 where it is read with a single filling in its slot."""
    if len(fillings) < 2:
        return 0
    return max(sum(len(fillings[number]) for number in group) for group in grouped(fillings))


def prompt(tokens: Tokens, template: Template, text: str, room: int) -> Prompt:
    """A row's text in a template; where there is no room for all of it, in tokens, its end is left out.

    Raises SettingError where the template alone needs more.
    """
    left, at_left = tokens.encode_bare(template.left.replace(TEXT, text))
    right, at_right = _after(tokens, _ANCHOR, template.right.replace(TEXT, text)) if template.right else ([], [])
    full = len(left) + len(right)
    if full > room:
        side = template.left if template.text_first else template.right
        begin = side.index(TEXT)
        offsets = at_left if template.text_first else at_right
        inside = [at for at, (a, b) in enumerate(offsets) if begin <= a < b <= begin + len(text)]
        excess = full - room
        if excess > len(inside):
            raise SettingError(
                [f"{TEMPLATE} leaves no room for a text: it has {full - len(inside)} tokens, of which {room} fit."],
                "Shorten it, or raise 'Longest row' (training.max_tokens).",
            )
        gone = set(inside[len(inside) - excess :])
        kept = [token for at, token in enumerate(left if template.text_first else right) if at not in gone]
        left, right = (kept, right) if template.text_first else (left, kept)
    return Prompt(left, right, full)


def _after(tokens: Tokens, before: str, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """A text's tokens as they are after other text, and the characters of it that each stands for."""
    first, _ = tokens.encode_bare(before)
    ids, offsets = tokens.encode_bare(before + text)
    if ids[: len(first)] != first:  # they join
        return tokens.encode_bare(text)
    return ids[len(first) :], [(a - len(before), b - len(before)) for a, b in offsets[len(first) :]]
