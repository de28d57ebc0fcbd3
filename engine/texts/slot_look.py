"""What a template and label words come to, while somebody writes them: a row filled in, and how each word is split.

The page asks after every few letters, so faults are told as sentences here in place of being raised. What words are as
tokens comes from the preview's child (`engine.texts.preview.words`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.texts import label_words
from engine.texts.label_words import LABEL, TEXT

MOST_PROBLEMS = 5


@dataclass(frozen=True)
class Asked:
    """What somebody has written so far. masked: of a model that reads what stands after the slot, too."""

    template: str
    words: str
    labels: Sequence[str]
    row: str
    """The text of one of their rows."""
    masked: bool
    normalised: bool = True

    @property
    def given(self) -> dict[str, str]:
        """Word by label of the lines that can be read."""
        pairs = [[part.strip() for part in line.rpartition("=")] for line in self.words.splitlines()]
        return {label_words.named(label): word for label, _, word in pairs[::-1] if label and word}

    @property
    def whole(self) -> list[str]:
        """The templates that have one place for the text and one slot."""
        return [one for one in label_words.texts(self.template) if not label_words.miscounted(one)]


@dataclass(frozen=True)
class Split:
    """A label's word as a model's tokens. pieces: their text; fewer than `ids` where tokens share a letter."""

    label: str
    word: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    known: bool = True
    """False where the model has no tokens for it."""


Splits = list[list[Split]]
"""Of each template, each label's."""


@dataclass(frozen=True)
class Filled:
    """A row's text in a template, also in a faulty one. parts: of text, with a slot between each two of them."""

    parts: tuple[str, ...]
    unread: str = ""
    """What stands after it where the model reads nothing there."""


@dataclass(frozen=True)
class Word:
    """pieces: empty where the model's tokens are not known yet. note: what it has in common with another label's."""

    label: str
    word: str
    is_own_name: bool
    """Whether nobody gave one, so that the label's name stands in."""
    pieces: tuple[str, ...] = ()
    tokens: int = 0
    note: str = ""


@dataclass(frozen=True)
class Look:
    filled: list[Filled] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What stands in the way of the start, each with what to do."""
    remark: str = ""
    """What several tokens mean, where a word has some."""


def look(asked: Asked, split: Callable[[Asked], Splits] | None = None) -> Look:
    """split: asks a tokenizer; None where it is not at hand. Raises ModelError as that does."""
    problems = [*_of_template(asked), *_of_lines(asked)]
    splits = split(asked) if split else []
    problems += _of_words(splits)
    words = [_word(asked, splits, place) for place in range(len(asked.labels))]
    return Look(_filled(asked), words, problems[:MOST_PROBLEMS], _remark(asked, words, splits))


def _of_template(asked: Asked) -> list[str]:
    """What is wrong with the template, each in a sentence with what to do."""
    each, found = label_words.texts(asked.template), []
    for number, one in enumerate(each, 1):
        name = f"Template {number}" if len(each) > 1 else "The template"
        for mark, what, count in label_words.miscounted(one):
            remedy = f"it stands there {count} times: leave one of them" if count else "write it where that belongs"
            found.append(f"{name} needs one {mark}, for {what}; {remedy}.")
        if one in asked.whole and not asked.masked and one.index(TEXT) > one.index(LABEL):
            found.append(
                f"{name} has {TEXT} after {LABEL}, and this model reads forward. Put {TEXT} first, or choose a masked "
                "language model."
            )
    return found


def _of_lines(asked: Asked) -> list[str]:
    """What is wrong with the lines of label words, each in a sentence with what to do."""
    found, seen = [], set()
    for number, line in enumerate(asked.words.splitlines(), 1):
        label, mark, word = (part.strip() for part in line.rpartition("="))
        name = label_words.named(label)
        if not line.strip():
            continue
        if not mark:
            found.append(f"Line {number} of the label words has no '='. Write it as: label = word.")
        elif not label or not word:
            remedy = "write one after the '=', or delete the line" if label else "write the label before the '='"
            found.append(f"Line {number} of the label words has no {'word' if label else 'label'}; {remedy}.")
        elif name in seen:
            found.append(f"Line {number} of the label words is the second for {name!r}; leave one of them.")
        else:
            seen.add(name)
            strange = label_words.no_labels({name: word}, asked.labels)
            found += [f"Line {number} of the label words: {one}" for one in strange]
    return found


def _of_words(splits: Splits) -> list[str]:
    """Words that the model can't tell apart or doesn't know, each in a sentence with what to do."""
    found = []
    for own in splits:
        seen: dict[tuple[int, ...], Split] = {}
        for one in own:
            if not one.known:
                found.append(f"The model has no tokens for {one.word!r}, the word of {one.label!r}; choose another.")
            elif one.ids in seen:
                other = seen[one.ids]
                found.append(
                    f"{other.word!r} of {other.label!r} and {one.word!r} of {one.label!r} are the same tokens, so that "
                    "nothing tells these labels apart; give one of them another word."
                )
            seen.setdefault(one.ids, one)
    return list(dict.fromkeys(found))


def _word(asked: Asked, splits: Splits, place: int) -> Word:
    label = asked.labels[place]
    is_own_name = label_words.named(label) not in asked.given
    if not splits:
        return Word(label, label_words.word_of(label, asked.given), is_own_name)
    widest = max(splits, key=lambda own: len(own[place].ids))
    one = widest[place]
    notes = (note for own in splits if (note := _note(own, place)))
    return Word(label, one.word, is_own_name, one.pieces, len(one.ids), next(notes, ""))


def _note(own: Sequence[Split], place: int) -> str:
    mine = own[place]
    if not mine.known:
        return "the model has no tokens for it"
    others = [one for other, one in enumerate(own) if other != place]
    same = [one.label for one in others if one.ids == mine.ids]
    if same:
        return f"the same as that of {_listed(same)}: nothing tells them apart"
    begun = [one.label for one in others if one.ids[:1] == mine.ids[:1]]
    return f"begins as that of {_listed(begun)} does: what follows tells them apart" if begun else ""


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
    return f"{labels[0]!r}{more}"


def _remark(asked: Asked, words: Sequence[Word], splits: Splits) -> str:
    several = sum(one.tokens > 1 for one in words)
    if not several:
        return ""
    slots = [label_words.slot([one.ids for one in own], 0 if asked.masked else None) for own in splits]
    readings = max(len(one.fillings if asked.masked else label_words.grouped(one.fillings)) for one in slots)
    how = "mean" if asked.normalised else "sum"
    cost = f", and each row is read {readings} times for them" if readings > 1 else ""
    verb = "is" if several == 1 else "are"
    return (
        f"{several} of {len(words)} words {verb} several tokens: pieces that the model knows one by one. Such a word "
        f"is scored by the {how} of its pieces' log-probabilities{cost}. One token for each label works best."
    )


def _filled(asked: Asked) -> list[Filled]:
    found = []
    for one in label_words.texts(asked.template):
        parts = tuple(part.replace(TEXT, asked.row) for part in one.split(LABEL))
        unread = not asked.masked and one in asked.whole
        found.append(Filled((*parts[:-1], ""), parts[-1]) if unread else Filled(parts))
    return found
