"""Rows to examples: columns by their roles, texts as they stand, and a problem for each row that can't be used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from engine.data import columns, conversations, formats, passages, targets, templates
from engine.data.conversations import BadRow, Seen
from engine.data.example import Example, Mark, SplitName
from engine.data.formats import Guess
from engine.data.rows import SPLIT_NAMES, RowProblem, Table, UnusableRows, counted, listed
from engine.data.targets import NOTHING, Answer, Found, Reading
from engine.errors import DataError
from engine.method import KindName, Wants
from engine.specs.sections import Data

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Built:
    """`divided` says that the source has its own splits, which the examples carry."""

    examples: list[Example]
    problems: list[RowProblem]
    notices: list[str]
    guess: Guess
    divided: bool = False
    blocks: list[str] | None = None
    """For passages of documents: the block that each is held out with, or learned."""
    rows: list[Example] | None = None
    """What the passages were made from, where the examples are passages."""
    found: Found = NOTHING
    """What its answers look like."""


def build(table: Table, entry: Data, wants: Wants, source: int = 0, kind: KindName = "one label") -> Built:
    """Examples of the kind that an objective wants. kind: as what the answers of texts with labels are read.

    Problems of reading the table are passed on. Raises DataError where no row can be used or the format does not
    fit what is wanted.
    """
    guess = _recognised(table, entry, wants)
    found = targets.find(table, guess, entry) if guess.format != "text" else NOTHING
    # Who learns answers in words learns the labels of a row as one answer, whatever a classifier makes of them.
    read_as = kind if wants == "labelled" else found.kind
    maker = _Maker(table, entry, guess, targets.reading(read_as, found, guess))
    notices: list[str] = []
    splits = _given_splits(table, notices)
    examples: list[Example] = []
    problems = [RowProblem(item.row, item.place, item.problem, item.fix, source) for item in table.problems]
    for index, row in enumerate(table.rows):
        split = splits[index] if splits else "train"
        number = table.numbers[index]
        try:
            for made in maker.make(row):
                if wants == "text":
                    made = Made(text="\n".join(filter(None, (made.text, made.second))))
                elif wants == "labelled" and made.messages:
                    made = maker.as_labelled(made)
                elif wants == "messages" and not made.messages:
                    made = maker.as_messages(row, made)
                examples.append(made.example(number, split, source))
        except BadRow as bad:
            problems.append(RowProblem(number, table.places[index], bad.problem, bad.fix, source, bad.kind))
    problems.sort(key=lambda problem: problem.row)
    if not examples:
        raise UnusableRows(table.source, problems)
    notices += maker.notices(wants)
    if wants == "messages":
        notices += targets.told(found, read_as, "auto", is_classified=False)
    blocks = rows = None
    if wants == "text" and table.continuous:
        rows = examples
        examples, blocks = passages.joined(examples, dict(zip(table.numbers, table.continuous, strict=True)))
        many = counted(len(examples), "passage", "passages")
        notices.append(
            f"{counted(len(rows), 'row', 'rows')} of running text: read in {many} of at most {passages.CHARACTERS:,} "
            "characters. They are held out in blocks."
        )
    return Built(examples, problems, notices, guess, bool(splits), blocks, rows, found)


def is_plain(table: Table, entry: Data) -> bool:
    """Whether a table holds texts by themselves. Raises DataError as `build` does."""
    marks = columns.lines(table, entry.label_columns)
    return formats.recognise(table, entry.columns, entry.format, bool(entry.prompt), marks).format == "text"


def answers(table: Table, entry: Data) -> Found:
    """What the answers of a table of texts with labels look like. Raises DataError as `build` does."""
    return targets.find(table, _recognised(table, entry, "labelled"), entry)


@dataclass
class Made:
    messages: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    label: str = ""
    tools: list[dict[str, Any]] | None = None
    second: str = ""
    labels: list[str] | None = None
    number: float | None = None
    marks: list[Mark] | None = None

    def example(self, row: int, split: SplitName, source: int) -> Example:
        return Example(
            row=row,
            split=split,
            source=source,
            messages=self.messages,
            text=self.text,
            label=self.label,
            tools=self.tools,
            second=self.second,
            labels=self.labels,
            number=self.number,
            marks=self.marks,
        )


class _Maker:
    """Makes what one row holds, by the format of its table."""

    def __init__(self, table: Table, entry: Data, guess: Guess, answers: Reading) -> None:
        self.table = table
        self.answers = answers
        self.entry = entry
        self.guess = guess
        self.roles = guess.columns
        self.seen = Seen()
        # Instances hold their own inputs, under no column of the table.
        inner = {"input": "input"} if "instances" in self.roles else {}
        self.named = templates.needed(entry.prompt, table, {**inner, **self.roles}) if entry.prompt else {}
        if entry.prompt and guess.format in ("chat", "sharegpt", "marked"):
            whole = "conversations, whose turns are" if guess.format != "marked" else "marked words, whose text is"
            raise DataError(f"A prompt template can't be used with {whole} whole already.", "Leave it empty.")
        makers: dict[str, Callable[[dict[str, Any]], list[Made]]] = {
            "chat": self._conversation,
            "sharegpt": self._conversation,
            "alpaca": self._instruction,
            "prompt-completion": self._pair,
            "marked": self._marked,
            "labelled": self._labelled,
            "text": self._plain,
        }
        self.make = makers[guess.format]

    def _conversation(self, row: dict[str, Any]) -> list[Made]:
        name = self.roles.get("messages") or self.roles["conversations"]
        messages = conversations.read(row.get(name), name, self.seen)
        answer = self.roles.get("output")
        if answer is not None:
            messages += self._answer_turns(row, answer)
        tools = self.roles.get("tools")
        described = conversations.tools(row.get(tools), tools) if tools else None
        if described:
            _check_characters(json.dumps(described, ensure_ascii=False))
        return [self._whole(row, messages, described)]

    def _instruction(self, row: dict[str, Any]) -> list[Made]:
        if "instances" not in self.roles:
            prompt = self._prompt(row, row)
            return [self._whole(row, [prompt, {"role": "assistant", "content": self._text(row, "output", first=True)}])]
        instances = row.get(self.roles["instances"])
        if not isinstance(instances, list) or not instances or not all(isinstance(item, dict) for item in instances):
            raise BadRow(
                f'The column "{self.roles["instances"]}" holds no list of objects.', "Give each an input and an output."
            )
        made = []
        for instance in instances:
            prompt = self._prompt(row, {**row, **instance})
            answer = self._value(instance.get("output"), "output", first=True)
            made.append(self._whole(row, [prompt, {"role": "assistant", "content": answer}]))
        return made

    def _pair(self, row: dict[str, Any]) -> list[Made]:
        asked = self.roles.get("prompt")
        turns = columns.turns(row.get(asked)) if asked and not self.named else None
        if turns and isinstance(turns[0], dict):
            messages = conversations.read(turns, str(asked), self.seen)
        else:
            messages = [self._prompt(row, row)]
        return [self._whole(row, messages + self._answer_turns(row, self.roles["completion"]))]

    def _labelled(self, row: dict[str, Any]) -> list[Made]:
        second = self._text(row, "second") if "second" in self.roles and not self.entry.prompt else ""
        answer = self._answer(row)
        _check_characters(answer.text)
        return [
            Made(
                text=self._prompt(row, row)["content"],
                label=answer.text,
                second=second,
                labels=answer.labels,
                number=answer.number,
            )
        ]

    def _marked(self, row: dict[str, Any]) -> list[Made]:
        text, answer = self.answers.of_marked(row)
        _check_characters(text)
        return [Made(text=text, label=answer.text, marks=answer.marks)]

    def _answer(self, row: dict[str, Any]) -> Answer:
        if isinstance(self.answers, targets.Columns):
            return self.answers.of_row(row)
        name = self.roles["label"]
        return self.answers.read(row.get(name), lambda value: self._value(value, name, first=True))

    def _plain(self, row: dict[str, Any]) -> list[Made]:
        return [Made(text=self._prompt(row, row)["content"])]

    def as_labelled(self, made: Made) -> Made:
        """A conversation of one question and one answer as a text with its label."""
        turns = [message for message in made.messages if message["role"] != "system"]
        if len(turns) != 2:
            raise BadRow(
                f"The conversation has {len(turns)} turns; a text with a label has 2.",
                "Leave the row out, or choose chat.",
            )
        answer = self.answers.read(turns[1]["content"], str)
        return Made(text=turns[0]["content"], label=answer.text, labels=answer.labels, number=answer.number)

    def as_messages(self, row: dict[str, Any], made: Made) -> Made:
        """A labelled text as a conversation that answers with the label; of two texts each after its column's name.

        Several labels stay as they are written where that is a text.
        """
        asked, written = made.text, row.get(self.roles.get("label", ""))
        said = written if isinstance(written, str) and columns.turns(written) is None else made.label
        if made.second:
            asked = f"{self.roles['text']}: {made.text}\n{self.roles['second']}: {made.second}"
        if made.marks == []:
            said = NO_MARKS
        if not said.strip():
            raise BadRow("The row has no label, so that there is no answer.", "Give it one, or leave the row out.")
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        return replace(self._whole(row, turns), labels=made.labels)

    def _answer_turns(self, row: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """The answer as turns, from a text or from turns."""
        value = row.get(name)
        turns = [value] if isinstance(value, dict) else columns.turns(value)
        if turns and isinstance(turns[0], dict):
            return conversations.read(turns, name, self.seen)
        return [{"role": "assistant", "content": self._value(value, name, first=True)}]

    def _prompt(self, row: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        """The user's turn: the template filled in, or the text, or instruction and input with an empty line between."""
        if self.entry.prompt:
            filled = {name: self._value(values.get(column), column, blank=True) for name, column in self.named.items()}
            content = templates.filled(self.entry.prompt, filled)
            if not any(text.strip() for text in filled.values()):
                raise BadRow("All columns of the prompt template are empty.", "Fill one of them.")
        elif self.guess.format == "alpaca":
            content = self._text(row, "instruction")
            column = self.roles.get("input", "input" if "instances" in self.roles else None)
            extra = self._value(values.get(column), column, blank=True) if column else ""
            if extra.strip():
                content = f"{content}\n\n{extra}"
        else:
            content = self._text(row, "text" if self.guess.format in ("labelled", "text") else "prompt")
        return {"role": "user", "content": content}

    def _whole(self, row: dict[str, Any], messages: list[dict[str, Any]], tools: Any = None) -> Made:
        """With a system message before it, checked."""
        if messages and messages[0]["role"] == "system" and not messages[0]["content"].strip():
            messages = messages[1:]
        if not messages or messages[0]["role"] != "system":
            column = self.roles.get("system")
            system = self._value(row.get(column), column, blank=True) if column else ""
            system = system if system.strip() else self.entry.system or ""
            if system.strip():
                messages = [{"role": "system", "content": system}, *messages]
        conversations.check(messages, self.seen)
        for message in messages:
            _check_characters(message["content"])
        return Made(messages=messages, tools=tools)

    def _text(self, row: dict[str, Any], role: str, first: bool = False) -> str:
        name = self.roles[role]
        return self._value(row.get(name), name, first)

    def _value(self, value: Any, name: str, first: bool = False, blank: bool = False) -> str:
        """A cell as text. Lists of texts: the first (for answers), else all of them; `blank` allows nothing."""
        if not isinstance(value, str):
            value = self._converted(value, name, first)
        if not blank and not value.strip():
            raise BadRow(f'The column "{name}" is empty.', "Fill it, or leave the row out.")
        _check_characters(value)
        return str(value)

    def _converted(self, value: Any, name: str, first: bool) -> str:
        if value is None or value == []:
            return ""
        if isinstance(value, list):
            if not all(isinstance(item, str) for item in value):
                raise BadRow(f'The column "{name}" holds a list, not text.', "Choose a column of text.")
            if len(value) > 1:
                counts = self.seen.first_of if first else self.seen.joined
                counts[name] = counts.get(name, 0) + 1
            return value[0] if first else " ".join(value)
        if isinstance(value, dict | bytes):
            raise BadRow(f'The column "{name}" holds {_KIND_WORDS[type(value)]}, not text.', "Choose a column of text.")
        if value != value:  # NaN, which Parquet may hold for 'nothing'.
            return ""
        self.seen.converted[name] = self.seen.converted.get(name, 0) + 1
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value)

    def notices(self, wants: Wants) -> list[str]:
        """What was decided for all rows."""
        seen, found = self.seen, []
        for name, count in seen.converted.items():
            found.append(
                f"{counted(count, 'value', 'values')} of {name!r} were no text and are used as they are written."
            )
        for name, count in seen.joined.items():
            found.append(f"{counted(count, 'row has', 'rows have')} a list of texts in {name!r}: joined with spaces.")
        for name, count in seen.first_of.items():
            found.append(f"{counted(count, 'row has', 'rows have')} several answers in {name!r}: the first is used.")
        if seen.calls:
            found.append(
                f"{counted(seen.calls, 'turn calls', 'turns call')} a tool: learned as JSON in <tool_call> tags."
            )
        for key, count in sorted(seen.unused.items()):
            found.append(f"{key!r} of {counted(count, 'turn', 'turns')} is not used.")
        if seen.open_ended:
            told = counted(seen.open_ended, "conversation ends", "conversations end")
            found.append(f"{told} without an answer; what comes after the last answer teaches nothing.")
        used = {name for role, name in self.roles.items() if not (self.named and role in _ASKING)}
        used.update(self.guess.labels)
        found += self.answers.notices() if isinstance(self.answers, targets.Marks) else []
        unused = [name for name in self.table.columns if name not in {*used, *self.named.values()}]
        if unused:
            found.append(f"Columns not used: {listed(unused)}.")
        for name in unused:
            bad = sum(1 for row in self.table.rows if row.get(name) is False) if columns.normal(name) in _RATINGS else 0
            if bad:
                told = counted(bad, "row marked false is", "rows marked false are")
                found.append(f"{name!r} looks like a rating; the {told} learned like the others.")
        if wants == "labelled" and (self.entry.system or "system" in self.roles):
            found.append("System messages are not used: the text alone is classified.")
        if wants == "messages" and "second" in self.roles and not self.entry.prompt:
            found.append("Both texts are put into one message, each after the name of its column.")
        if wants == "text" and self.guess.format == "marked":
            found.append("The marks are not used: the texts alone are read.")
        if wants == "text" and (self.guess.labels or "label" in self.roles):
            names = ", ".join(repr(name) for name in self.guess.labels or [self.roles["label"]])
            found.append(f"The labels ({names}) are not used: the texts alone are read.")
        return found


NO_MARKS = "(nothing)"
"""What answers in words say of a row without marks."""
_ASKING = {"instruction", "input", "prompt", "text", "second"}
"""Parts that a template stands in for."""
_RATINGS = {"label", "rating", "accepted", "correct", "good", "liked"}
_KIND_WORDS = {dict: "an object", bytes: "bytes"}


def _recognised(table: Table, entry: Data, wants: Wants) -> Guess:
    allowed = [role for roles in formats.ROLES.values() for role in roles]
    columns.check(
        table, entry.columns, dict.fromkeys(allowed if entry.format == "auto" else formats.ROLES[entry.format])
    )
    marks = columns.lines(table, entry.label_columns)
    guess = formats.recognise(table, entry.columns, entry.format, bool(entry.prompt), marks)
    name = table.source or "the data"
    if guess.format == "unknown":
        fix = "Choose the columns, for example text and label, or prompt and completion."
        raise DataError(
            f"It is not plain what to learn from {name}. {guess.why}",
            fix if formats.choices(table) else "Give rows with a column of text.",
        )
    if guess.format == "preferences":
        raise DataError(
            f"{name} holds preference pairs (chosen and rejected), from which no objective here learns.",
            "To learn the chosen answers alone, choose columns such as {prompt: prompt, completion: chosen} "
            "or {conversations: conversations, output: chosen}.",
        )
    if wants == "text":
        if guess.format in ("text", "labelled", "marked"):
            return guess
        raise DataError(
            f"{name} holds {formats.TITLES[guess.format]}, and no plain text.",
            "Choose the objective chat to learn the answers, or the format text with a column, to read that alone.",
        )
    if guess.format == "text":
        needs = "answers" if wants == "messages" else "labels"
        raise DataError(
            f"{name} holds plain text without {needs}.",
            f"Give data with {needs}, or choose a column of them. To read the text itself, choose the objective text.",
        )
    return guess


def _given_splits(table: Table, notices: list[str]) -> list[SplitName]:
    """The source's own division: of its parts, or by a column that names it for every row."""
    if table.splits:
        notices.append(_told(table.splits, "its own parts"))
        return table.splits
    name = next((name for name in table.columns if columns.normal(name) in columns.SPLITS), None)
    if name is None:
        return []
    values = [str(row.get(name) or "").strip().casefold() for row in table.rows]
    if (
        not set(values) <= set(SPLIT_NAMES)
        or "train" not in {SPLIT_NAMES[value] for value in values}
        or len(set(values)) < 2
    ):
        return []
    splits = [SPLIT_NAMES[value] for value in values]
    notices.append(_told(splits, f"the column {name!r}"))
    return splits


def _told(splits: list[SplitName], by: str) -> str:
    counts = ", ".join(f"{splits.count(name):,} {name}" for name in ("train", "validation", "test") if name in splits)
    return f"The rows are divided by {by}: {counts}."


def _check_characters(text: str) -> None:
    """Half of a surrogate pair (a broken emoji in JSON) can't be written as UTF-8."""
    if not text.isascii() and _HALF.search(text):
        raise BadRow("A text holds half a character (a broken emoji).", "Delete it, or leave the row out.")
