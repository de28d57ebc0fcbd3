"""What a person should know of the rows before training on them: counted, with row numbers and plain advice."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from engine.data import boilerplate, content, languages, likeness, personal
from engine.data.example import Example
from engine.data.rows import Table, counted, listed
from engine.texts.tokens import Encoded

MOST_ROWS = 100
"""Row numbers of a finding that are written down; its count is of all."""
FEW_ROWS = 5
WEIGHABLE = (
    "Compare F1, not accuracy alone. A classifier can let rare labels count more while it learns: 'Class weights' "
    "under its more settings."
)
_MARK = re.compile(r"^#### ?\S", re.MULTILINE)
LONG_CHARACTERS = 4000
"""About 1,000 tokens of English: the default limit of a row."""
MOST_COMPARED = 50_000
"""Texts by themselves that are compared with each other, and whose language is told: about 20 seconds of work."""


@dataclass(frozen=True)
class Finding:
    """`count` is of rows, or of labels where the title says so. `rows` holds their numbers, from 1."""

    name: str
    title: str
    count: int
    rows: list[int]
    help: str
    level: Literal["info", "warning"] = "warning"
    source: int = 0
    """Index of the data entry that the row numbers belong to."""
    notes: dict[int, str] = field(default_factory=dict)
    """What is to say of single rows, by their numbers."""

    def as_dict(self) -> dict[str, Any]:
        """With the first row numbers only, and without the notes."""
        record = {**asdict(self), "rows": self.rows[:MOST_ROWS]}
        del record["notes"]
        return record


def audit(
    examples: list[Example],
    encode: Callable[[Example], Encoded] | None = None,
    source: int = 0,
    keys: list[str] | None = None,
    read: Table | None = None,
) -> list[Finding]:
    """Findings with a count above 0.

    encode: tokens of an example; with it lengths are counted in tokens, and truncated rows are found.
    keys: the examples' prompt keys, if they are known. read: what the examples were made from; texts by themselves
    are looked at document by document with it.
    """
    prompts = keys if keys is not None else content.prompt_keys(examples)
    answers = [content.answer(example) for example in examples]
    labels = content.classes(examples) if any(answers) else None
    marked = any(example.marks is not None for example in examples)
    found = [_duplicates(examples, prompts, answers)]
    if labels is not None:
        names = [(index, name) for index, example in enumerate(examples) for name in content.named(example)]
        found += [_conflicts(examples, prompts, labels), _near_labels(examples, names), *_counts(examples, names)]
    else:
        found.append(_unmarked(examples, answers))
    if examples and not any(answers) and not any(example.messages for example in examples):
        found += _of_texts(examples, read)
    if marked:
        found.append(_without_marks(examples))
    found.append(_leaks(examples, prompts))
    found.append(_repeated_turns(examples))
    found += _personal(examples)
    if encode:
        found += _token_lengths(examples, encode)
    elif any(answers) and not marked:  # long plain texts are read in parts, and so are those with marked words
        found.append(_lengths(examples))
    return [replace(item, source=source) for item in found if item.count]


def label_counts(examples: list[Example]) -> dict[str, int]:
    """Rows by label (or by answer, where answers are few), most first; empty where answers are free text or numbers."""
    known = content.classes(examples) is not None
    answers = [name for example in examples for name in content.named(example)] if known else []
    return dict(sorted(Counter(answers).items(), key=lambda item: (-item[1], item[0])))


def _rows(examples: list[Example], indexes: Iterable[int]) -> list[int]:
    numbers = dict.fromkeys(examples[index].row for index in indexes)
    return list(numbers)


def _duplicates(examples: list[Example], prompts: list[str], answers: list[str]) -> Finding:
    seen: set[tuple[str, str]] = set()
    again = []
    for index, pair in enumerate(zip(prompts, map(content.key, answers), strict=True)):
        if pair in seen:
            again.append(index)
        seen.add(pair)
    return Finding(
        "duplicates",
        "Rows that repeat an earlier one",
        len(again),
        _rows(examples, again),
        "They weigh more in training than others. Delete them unless that is meant.",
    )


def _conflicts(examples: list[Example], prompts: list[str], answers: list[str]) -> Finding:
    labels: dict[str, set[str]] = {}
    for prompt, label in zip(prompts, content.label_keys(answers), strict=True):
        labels.setdefault(prompt, set()).add(label)
    torn = [index for index, prompt in enumerate(prompts) if len(labels[prompt]) > 1]
    # Rows of one text stand together, in the order in which the texts first come.
    first: dict[str, int] = {}
    for index in torn:
        first.setdefault(prompts[index], index)
    texts = len(first)
    return Finding(
        "conflicts",
        f"Rows with equal text but different labels ({counted(texts, 'text', 'texts')})",
        len(torn),
        _rows(examples, sorted(torn, key=lambda index: first[prompts[index]])),
        "The model can't learn both. Decide for one label for each text.",
    )


def _near_labels(examples: list[Example], names: list[tuple[int, str]]) -> Finding:
    """names: labels with the index of their example, which may have several."""
    answers = [name for _, name in names]
    spellings: dict[str, Counter[str]] = {}
    keys = content.label_keys(answers)
    for key, answer in zip(keys, answers, strict=True):
        spellings.setdefault(key, Counter())[answer] += 1
    # The most frequent spelling counts as meant; among equals the first by alphabet.
    meant = {key: min(counts, key=lambda item: (-counts[item], item)) for key, counts in spellings.items()}
    odd = [place for place, answer in enumerate(answers) if answer != meant[keys[place]]]
    shown = [f"{answers[place]!r} for {meant[keys[place]]!r}" for place in odd]
    examples_of = listed(list(dict.fromkeys(shown)), 3)
    several = any(example.labels is not None or example.marks is not None for example in examples)
    return Finding(
        "near names" if several else "near labels",  # a remedy writes whole cells, and has no answer to the first
        "Rows whose label differs from a more frequent one by case, spaces or hyphens only",
        len(odd),
        _rows(examples, [names[place][0] for place in odd]),
        f"They count as classes of their own ({examples_of}). Write them alike.",
    )


def _counts(examples: list[Example], names: list[tuple[int, str]]) -> list[Finding]:
    """names: as `_near_labels` takes them."""
    counts = Counter(name for _, name in names)
    rare = sorted(repr(label) for label, count in counts.items() if count < FEW_ROWS)
    rows = [index for index, name in names if counts[name] < FEW_ROWS]
    trained = {name for index, name in names if examples[index].split == "train"}
    unseen = [index for index, name in names if name not in trained]
    most, least = max(counts.values()), min(counts.values())
    marked = any(example.marks is not None for example in examples)
    unit = "marks" if marked else "rows"
    found = [
        Finding(
            "rare labels",
            f"Labels with fewer than {FEW_ROWS} {unit}",
            len(rare),
            _rows(examples, rows),
            f"They are hardly learned: {listed(rare, 5)}. Add rows, or join them with others.",
        ),
        Finding(
            "unseen labels",
            "Held-out rows whose label has no row to learn from",
            len(unseen),
            _rows(examples, unseen),
            "They can't be answered right. Add training rows with these labels.",
        ),
    ]
    if most >= 10 * least and not rare:
        common = min(counts, key=lambda label: (-counts[label], label))
        help = f"The most frequent, {common!r}, has {most:,} {unit}, the rarest {least:,}. "
        help += "Compare the F1 of each label." if marked else WEIGHABLE
        found.append(Finding("uneven labels", "Labels of very different size", len(counts), [], help, "info"))
    return found


def _without_marks(examples: list[Example]) -> Finding:
    none = [index for index, example in enumerate(examples) if not example.marks]
    return Finding(
        "no marks",
        "Rows in which nothing is marked",
        len(none),
        _rows(examples, none),
        "The model learns from them that there is nothing to mark. Look whether marks were forgotten.",
        "info",
    )


def _unmarked(examples: list[Example], answers: list[str]) -> Finding:
    """Answers without the line that others end with ("#### 42"), so that a checker would find no result in them."""
    marked = [_MARK.search(answer) is not None for answer in answers]
    unmarked = [index for index, has in enumerate(marked) if not has] if 2 * sum(marked) > len(marked) else []
    return Finding(
        "unmarked answers",
        "Answers without the final '####' line that most have",
        len(unmarked),
        _rows(examples, unmarked),
        "They can be learned, but not be checked against a result. Add the line, or leave them out.",
    )


def _leaks(examples: list[Example], prompts: list[str]) -> Finding:
    trained = {prompt for example, prompt in zip(examples, prompts, strict=True) if example.split == "train"}
    leaks = [index for index, prompt in enumerate(prompts) if examples[index].split != "train" and prompt in trained]
    return Finding(
        "leaks",
        "Held-out rows that are learned, too",
        len(leaks),
        _rows(examples, leaks),
        "The data set's own division has equal prompts on both sides, so scores come out too good. "
        "Delete them from one side.",
    )


def _repeated_turns(examples: list[Example]) -> Finding:
    """Conversations in which the assistant says the same twice: often an export that went wrong."""
    odd = []
    for index, example in enumerate(examples):
        said = [message["content"] for message in example.messages if message["role"] == "assistant"]
        if len(said) > 2 and max(Counter(said).values()) > len(said) // 2:
            odd.append(index)
    return Finding(
        "repeated turns",
        "Conversations in which most answers are the same",
        len(odd),
        _rows(examples, odd),
        "Check that they were exported right.",
        "info",
    )


def _personal(examples: list[Example]) -> list[Finding]:
    rows: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        texts = [message["content"] for message in example.messages] or [example.read]
        for kind in dict.fromkeys(kind for text in texts for kind in personal.kinds(text)):
            rows.setdefault(kind, []).append(index)
    help = "A model may repeat what it learned. Replace or delete what you may not pass on."
    return [
        Finding(kind, f"Rows that seem to hold {title}", len(rows[kind]), _rows(examples, rows[kind]), help)
        for kind, title in personal.KINDS.items()
        if kind in rows
    ]


def _of_texts(examples: list[Example], read: Table | None) -> list[Finding]:
    """What concerns texts by themselves: boilerplate, near copies, other languages."""
    texts = [example.text for example in examples]
    at = {number: index for index, number in enumerate(read.numbers)} if read else {}
    rows = [at.get(example.row, -1) for example in examples]
    places = [read.places[row] if read and row >= 0 else "" for row in rows]
    documents = [read.continuous[row] if read and read.continuous and row >= 0 else 0 for row in rows]
    cuts = boilerplate.cuts(texts, places, documents)
    kinds = Counter(cut.kind for cut in cuts.values())
    told = ", ".join(f"{name} ({kinds[kind]:,})" for kind, name in boilerplate.KINDS.items() if kinds[kind])
    found = [
        Finding(
            "boilerplate",
            "Rows with what belongs to no text: licences, edges of pages, tables of contents",
            len(cuts),
            _rows(examples, sorted(cuts)),
            f"They hold {told}. A model learns to write that, too.",
            notes={examples[index].row: boilerplate.KINDS[cut.kind] for index, cut in cuts.items()},
        )
    ]
    left = [index for index in range(len(texts)) if index not in cuts or cuts[index].rest][:MOST_COMPARED]
    capped = f" The first {MOST_COMPARED:,} rows were looked at." if len(texts) > MOST_COMPARED else ""
    return [*found, _near_copies(examples, left, capped), _other_languages(examples, left, capped)]


def _near_copies(examples: list[Example], left: list[int], capped: str) -> Finding:
    """Rows in pairs: the one that is kept before those that are like it."""
    pairs = likeness.near([examples[index].text for index in left])
    groups: dict[int, list[int]] = {}
    for copy, (kept, _) in pairs.items():
        groups.setdefault(left[kept], []).append(left[copy])
    numbers = {left[copy]: (examples[left[kept]].row, like) for copy, (kept, like) in pairs.items()}
    return Finding(
        "near duplicates",
        "Rows that nearly repeat another one",
        len(pairs),
        _rows(examples, [index for kept, copies in groups.items() for index in (kept, *copies)]),
        f"They share at least {likeness.THRESHOLD:.0%} of their runs of three words with an earlier row, under which "
        f"they are shown. What repeats is learned by heart.{capped}",
        notes={examples[copy].row: f"{like:.0%} like row {row}" for copy, (row, like) in numbers.items()},
    )


def _other_languages(examples: list[Example], left: list[int], capped: str) -> Finding:
    texts = [examples[index].text for index in left]
    told = languages.told(texts)
    main = languages.main(told, texts)
    others = [at for at, language in enumerate(told) if language not in ("", main)]
    counts = Counter(told[at] for at in others).most_common()
    shown = listed([f"{languages.name(language)} ({count:,})" for language, count in counts], 5)
    short = counted(told.count(""), "row was", "rows were")
    return Finding(
        "other languages",
        f"Rows in another language than most, which are in {languages.name(main)}",
        len(others),
        _rows(examples, [left[at] for at in others]),
        f"They are in {shown}. Leave them in if the model is to know them. {short} too short to tell and stay.{capped}",
        notes={examples[left[at]].row: languages.name(told[at]) for at in others},
    )


def _lengths(examples: list[Example]) -> Finding:
    lengths = [
        sum(len(message["content"]) for message in example.messages) or len(example.read) for example in examples
    ]
    long = [index for index, length in enumerate(lengths) if length > LONG_CHARACTERS]
    help = (
        f"The median has {statistics.median(lengths):,.0f} characters, the longest {max(lengths):,}. "
        "Rows beyond 'Longest row' are cut at the end, and counted in tokens before the start. Or split them up."
        if lengths
        else ""
    )
    title = f"Rows of more than {LONG_CHARACTERS:,} characters (about {LONG_CHARACTERS // 4:,} tokens)"
    return Finding("long rows", title, len(long), _rows(examples, long), help)


def _token_lengths(examples: list[Example], encode: Callable[[Example], Encoded]) -> list[Finding]:
    """Truncation, and rows of which nothing is learned."""
    full: list[int] = []
    cut: list[int] = []
    mute: list[int] = []
    for index, example in enumerate(examples):
        encoded = encode(example)
        full.append(encoded.full_length)
        if encoded.truncated:
            cut.append(index)
        if not any(encoded.learned):
            mute.append(index)
    ordered = sorted(full)
    told = (
        f"Half of all rows have at most {ordered[len(ordered) // 2]:,} tokens, 95 % at most "
        f"{ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]:,}, the longest {ordered[-1]:,}."
        if ordered
        else ""
    )
    return [
        Finding(
            "truncated", "Rows that are cut at the end", len(cut), _rows(examples, cut), f"{told} Raise 'Longest row'."
        ),
        Finding(
            "nothing learned",
            "Rows of which no token is learned",
            len(mute),
            _rows(examples, mute),
            "Their answer lies beyond the cut. Raise 'Longest row', or shorten their prompts.",
        ),
    ]
