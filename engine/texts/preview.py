"""How rows look to the model, before a run: formatted text, learned tokens in colour, lengths and what is cut.

The page asks a child process with limits on time and memory, since a chat template is a stranger's program.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import __version__, home
from engine.children import Child, Died, OutOfMemory, Settings, TooSlow
from engine.data.example import Example
from engine.errors import ModelError
from engine.specs.spec import RunSpec
from engine.texts import tokenizer
from engine.texts.slot_look import Asked, Split, Splits

SECONDS = 20.0
"""For one request; counting asks for `CHUNK` rows at a time."""
MEMORY_BYTES = 2 * 2**30
IDLE_SECONDS = 600.0
CHUNK = 1000
MOST_COUNTS = 200
"""Countings that are kept on disk, the newest ones."""

Counted = list[Any] | str
"""Of a row: its tokens before the cut, and where tokens are learned as [begin, end] from 0; or its problem."""


@dataclass(frozen=True)
class PreviewRow:
    """pieces: text piece by piece, with whether it is learned. tokens: after the cut. problem: why it can't be used."""

    row: int
    example: Example
    text: str = ""
    pieces: list[tuple[str, bool]] = field(default_factory=list)
    tokens: int = 0
    learned: int = 0
    truncated: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Lengths:
    """Tokens of all examples, in their order."""

    lengths: list[int]
    """After the cut at `max_tokens`; 0 where the row can't be used."""
    learned: list[int]
    truncated: int
    """Rows that are cut."""
    unlearned: int
    """Rows of which nothing is learned, those that can't be used aside."""
    longest: int
    """In tokens, before the cut."""
    total: int
    problems: dict[int, str] = field(default_factory=dict)
    """Why a row can't be used, by its place in the list of examples, counted from 0."""
    full: list[int] = field(default_factory=list)
    """Before the cut; 0 where the row can't be used."""
    first_learned: list[int | None] = field(default_factory=list)
    """The place of the first token that is learned, from 0 and before the cut; None where nothing is."""
    max_tokens: int = 0
    """Where rows are cut."""


class Previewer:
    """A child process, started when it is first needed, and what is asked of it."""

    def __init__(self, seconds: float = SECONDS, memory_bytes: int | None = MEMORY_BYTES) -> None:
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self._child = Child(
            Settings(
                module="engine.compute.preview",
                idle_seconds=IDLE_SECONDS,
                memory_bytes=memory_bytes,
                # All threads count, and the page's own clock should strike first.
                cpu_seconds=int(seconds * 4) + 4,
                threads=2,
            )
        )

    def rows(self, folder: Path, spec: RunSpec, examples: Sequence[Example]) -> list[PreviewRow]:
        """The examples as the model of `folder` will read them. Raises ModelError where tokenizer or template fail."""
        answers = self._ask("rows", folder, spec, examples)
        return [_row(example, answer) for example, answer in zip(examples, answers, strict=True)]

    def lengths(self, folder: Path, spec: RunSpec, examples: Sequence[Example]) -> Lengths:
        """Lengths of all examples, kept on disk until their content or the tokenizer change. Raises as `rows`."""
        path = _counts_folder() / f"{_key(folder, spec, examples)}.json"
        answers = _read(path, len(examples))
        if answers is None:
            answers = []
            for start in range(0, len(examples), CHUNK):
                answers += self._ask("lengths", folder, spec, examples[start : start + CHUNK])
            _write(path, answers)
        if spec.objective.divides(spec.objective_settings):
            return _of_parts(answers, spec.training.max_tokens)
        return _summed(answers, spec.training.max_tokens)

    def template_note(self, folder: Path) -> str | None:
        """What a person should know of this model's chat template, or None. Raises as `rows`."""
        note: str | None = self._call(
            {"ask": "note", "folder": str(folder.resolve()), "fingerprint": _fingerprint(folder)}
        )
        return note

    def words(self, folder: Path, asked: Asked) -> Splits:
        """Each label's word as tokens of the tokenizer in `folder`, in each template. Raises as `rows`."""
        request: dict[str, Any] = {"ask": "words", "folder": str(folder.resolve()), "fingerprint": _fingerprint(folder)}
        request |= {"templates": asked.whole, "words": asked.given, "labels": [*asked.labels], "masked": asked.masked}
        answers = self._call(request)
        return [
            [Split(**one | {"ids": tuple(one["ids"]), "pieces": tuple(one["pieces"])}) for one in own]
            for own in answers
        ]

    def close(self) -> None:
        """End the child; it is started again when needed."""
        self._child.close()

    def _ask(self, question: str, folder: Path, spec: RunSpec, examples: Sequence[Example]) -> list[Any]:
        request = {
            "ask": question,
            "folder": str(folder.resolve()),
            "fingerprint": _fingerprint(folder),
            **_how(spec),
            "max_tokens": spec.training.max_tokens,
            "examples": [example.as_dict() for example in examples],
        }
        answers: list[Any] = self._call(request)
        return answers

    def _call(self, request: dict[str, Any]) -> Any:
        fix = "Choose another model, or shorten the longest rows."
        try:
            return self._child.call(request, self.seconds)
        except TooSlow:
            raise ModelError(f"This model's chat template took longer than {self.seconds:g} seconds.", fix) from None
        except OutOfMemory:
            raise ModelError(f"This model's chat template took more memory than {self._memory()}.", fix) from None
        except Died as died:
            raise ModelError(
                f"The preview of this model ended without an answer (exit code {died.code}); "
                f"it may have taken more memory than {self._memory()}.",
                f"{fix} Details are in {self._child.log}.",
            ) from None

    def _memory(self) -> str:
        return f"{self.memory_bytes / 2**30:.2g} GiB" if self.memory_bytes else "there is"


_previewer = Previewer()
rows = _previewer.rows
lengths = _previewer.lengths
words = _previewer.words
template_note = _previewer.template_note


def _how(spec: RunSpec) -> dict[str, Any]:
    """What decides, besides tokenizer and examples, how an example is encoded before it is cut."""
    return {
        "objective": spec.objective.name,
        "settings": spec.objective_settings.model_dump(mode="json"),
    }


def _row(example: Example, answer: dict[str, Any]) -> PreviewRow:
    if "problem" in answer:
        return PreviewRow(example.row, example, problem=answer["problem"])
    pieces = [(text, learned) for text, learned in answer["pieces"]]
    return PreviewRow(
        row=example.row,
        example=example,
        text="".join(text for text, _ in pieces),
        pieces=pieces,
        tokens=answer["tokens"],
        learned=answer["learned"],
        truncated=answer["full_length"] > answer["tokens"],
        problem=None if answer["learned"] else _nothing_learned(answer),
    )


def _nothing_learned(answer: dict[str, Any]) -> str:
    if answer["full_length"] > answer["tokens"]:
        return (
            f"The row has {answer['full_length']} tokens and is cut at {answer['tokens']}, "
            "before anything that is learned. Raise the longest row, or shorten it."
        )
    return "Nothing of this row is learned: it has no answer."


def _summed(answers: list[Counted], max_tokens: int) -> Lengths:
    """Lengths at this cut. A cut takes the end of a row, so what is left to learn follows from where it stands."""
    problems = {place: answer for place, answer in enumerate(answers) if isinstance(answer, str)}
    rows = [(0, []) if isinstance(answer, str) else (answer[0], answer[1]) for answer in answers]
    learned = [sum(max(0, min(end, max_tokens) - begin) for begin, end in spans) for _, spans in rows]
    lengths = [min(full, max_tokens) for full, _ in rows]
    return Lengths(
        lengths=lengths,
        learned=learned,
        truncated=sum(full > max_tokens for full, _ in rows),
        unlearned=learned.count(0) - len(problems),
        longest=max((full for full, _ in rows), default=0),
        total=sum(lengths),
        problems=problems,
        full=[full for full, _ in rows],
        first_learned=[spans[0][0] if spans else None for _, spans in rows],
        max_tokens=max_tokens,
    )


def _of_parts(answers: list[Counted], max_tokens: int) -> Lengths:
    """Of texts that are read in parts of at most `max_tokens`: each learned but for its first token, or in the share in
    which the whole text is. None is cut."""
    counted = [answer for answer in answers if not isinstance(answer, str)]
    fulls = [full for full, _ in counted]
    lengths, learned = [], []
    for full, spans in counted:
        known = sum(end - begin for begin, end in spans)
        own = [min(max_tokens, full - start) for start in range(0, max(full, 1), max_tokens)]
        lengths += own
        learned += [round(known / full * one) if known < full - 1 else max(0, one - 1) for one in own]
    return Lengths(
        lengths=lengths,
        learned=learned,
        truncated=0,
        unlearned=0,
        longest=max(fulls, default=0),
        total=sum(lengths),
        problems={place: answer for place, answer in enumerate(answers) if isinstance(answer, str)},
        max_tokens=max_tokens,
    )


def _fingerprint(folder: Path) -> str:
    """Of the files that decide how text becomes tokens."""
    digest = hashlib.sha256()
    more = sorted((folder / tokenizer.MORE_TEMPLATES).glob("*.jinja"))
    named = [folder / name for name in (*tokenizer.FILES, tokenizer.TEMPLATE_FILE)]
    for path in [*named, *more]:
        if path.is_file():
            digest.update(f"{path.name}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(folder: Path, spec: RunSpec, examples: Sequence[Example]) -> str:
    digest = hashlib.sha256(f"{__version__}\n{_fingerprint(folder)}\n{json.dumps(_how(spec), sort_keys=True)}".encode())
    for example in examples:
        content = [example.messages, example.read, example.tools]
        digest.update(json.dumps(content, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _counts_folder() -> Path:
    folder = home.cache() / "lengths"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read(path: Path, count: int) -> list[Counted] | None:
    """Kept answers; None where there are none, or they are damaged or of another version."""
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))["rows"]
        whole = len(answers) == count and all(isinstance(answer, str) or _is_counted(*answer) for answer in answers)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return answers if whole else None


def _is_counted(full: Any, spans: Any) -> bool:
    return isinstance(full, int) and all(isinstance(place, int) for begin, end in spans for place in (begin, end))


def _write(path: Path, answers: list[Counted]) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False) as file:
        json.dump({"rows": answers}, file)
    os.replace(file.name, path)
    kept = sorted(path.parent.glob("*.json"), key=lambda other: other.stat().st_mtime, reverse=True)
    for old in kept[MOST_COUNTS:]:
        old.unlink(missing_ok=True)
