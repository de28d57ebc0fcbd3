"""From the data entries of a spec to the examples of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from engine.data import content, examples, history, mixture, passages, table, targets
from engine.data.audit import Finding, audit
from engine.data.example import Example, SplitName
from engine.data.examples import Built
from engine.data.formats import Guess
from engine.data.rows import RowProblem, Table, counted
from engine.data.split import SplitReport, split
from engine.data.targets import Found
from engine.errors import DataError
from engine.method import AskedKind, KindName, Wants
from engine.specs.sections import Data
from engine.texts.tokens import Encoded

_SHOWN = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """Examples of all entries in one list, with their splits, and all that a person should know about them.

    `guesses` and `splits` have one item for each data entry.
    """

    examples: list[Example]
    problems: list[RowProblem]
    notices: list[str]
    findings: list[Finding]
    blocking: list[RowProblem] = field(default_factory=list)
    """Problems in entries whose bad rows are to be refused."""
    guesses: list[Guess] = field(default_factory=list)
    splits: list[SplitReport] = field(default_factory=list)
    kind: KindName = "one label"
    """What the answers of texts with labels are."""
    found: list[Found] = field(default_factory=list)
    """What they look like in each data entry."""

    def settled(self, entries: Sequence[Data]) -> list[Data]:
        """The entries with what was found out about their labels written down."""
        if self.kind != "several labels":
            return list(entries)
        each = zip(entries, self.found, self.guesses, strict=True)
        return [targets.written_down(entry, found, guess) for entry, found, guess in each]

    def require(self) -> Prepared:
        """Itself, or DataError that names the rows which stand in the way."""
        if not self.blocking:
            return self
        shown = "; ".join(str(problem).rstrip(".") for problem in self.blocking[:_SHOWN])
        rest = len(self.blocking) - _SHOWN
        raise DataError(
            f"{counted(len(self.blocking), 'row has a problem', 'rows have problems')}: {shown}"
            + (f"; and {rest:,} more." if rest > 0 else "."),
            "Mend them in the file, or set 'Rows with problems' to 'skip' (bad_rows: skip) to leave them out.",
        )

    def require_apart(self, entries: Sequence[Data]) -> Prepared:
        """Itself, or DataError where the labels of some entry alone can't be learned."""
        for source, name in enumerate(mixture.names(entries)):
            own = [example for example in self.examples if example.source == source]
            with _named(name):
                targets.reading(self.kind, self.found[source], self.guesses[source]).check(own)
                if all(example.split != "train" for example in own):
                    raise DataError(
                        "No row is left to learn its labels from.", "Hold out fewer of its rows, or leave it out."
                    )
        return self

    def counts(self) -> dict[SplitName, int]:
        names: tuple[SplitName, ...] = ("train", "validation", "test")
        found = [example.split for example in self.examples]
        return {name: found.count(name) for name in names}


def prepare(
    entries: list[Data],
    wants: Wants,
    seed: int,
    encode: Callable[[Example], Encoded] | None = None,
    tables: Sequence[Table] | None = None,
    learn: bool = True,
    kind: AskedKind = "one label",
    reads_beside: bool = False,
) -> Prepared:
    """Read, recognise, build, split and audit every entry.

    Rows with problems are left out of the examples and listed; `Prepared.require` refuses them where the entry
    says so. encode: counts tokens for the audit. tables: of all entries, where they were read already.
    learn: False for rows that are only scored, which need not hold several classes. kind: of the answers of texts with
    labels; "auto" is what they look like. reads_beside: entries of plain text are read whole beside others.
    Raises DataError where an entry can't be used at all.
    """
    whole = Prepared([], [], [], [])
    taken: dict[str, SplitName] = {}
    names = mixture.names(entries) if len(entries) > 1 else [""] * len(entries)
    tables = tables or [_in_set(name, table.load, entry) for name, entry in zip(names, entries, strict=True)]
    if wants == "labelled":
        looked = [
            _in_set(name, examples.answers, read, entry)
            for name, read, entry in zip(names, tables, entries, strict=True)
        ]
        whole = replace(whole, kind=targets.settled(kind, looked))
    plain = [reads_beside and examples.is_plain(read, entry) for read, entry in zip(tables, entries, strict=True)]
    beside = [is_plain and not all(plain) for is_plain in plain]
    for source, (entry, read) in enumerate(zip(entries, tables, strict=True)):
        with _named(names[source]):
            built = examples.build(read, entry, "text" if beside[source] else wants, source, whole.kind)
            if beside[source]:
                entry, built = _beside(entry, built)
            keys = content.prompt_keys(built.examples)
            if built.blocks is None:
                divided, report = split(built.examples, entry.split, seed, built.divided, taken, keys)
                for key, example in zip(keys, divided, strict=True):
                    taken.setdefault(key, example.split)
            else:
                divided, report = split(built.examples, entry.split, seed, built.divided, keys=built.blocks)
        made = history.read(entry.source)
        notices = [*([str(made)] if made else []), *read.notices, *built.notices, *report.notices]
        if wants == "labelled":
            notices += targets.told(built.found, whole.kind, kind)
            notices += targets.marks_told(divided)
        if built.problems and entry.bad_rows == "skip":
            notices.append(f"{counted(len(built.problems), 'row', 'rows')} with problems left out.")
        elif built.problems:
            whole.blocking.extend(built.problems)
        prefix = f"{names[source]}: " if names[source] else ""
        whole.examples.extend(divided)
        whole.problems.extend(built.problems)
        whole.notices.extend(prefix + notice for notice in notices)
        if built.rows is None:
            whole.findings.extend(audit(divided, encode, source, keys, read))
        else:  # findings are of the rows, which can be mended, not of what they are joined to
            whole.findings.extend(audit(built.rows, encode, source, read=read))
        whole.guesses.append(built.guess)
        whole.found.append(built.found)
        whole.splits.append(report)
    if wants == "labelled":
        _require_alike(whole.examples, names)
    if wants == "labelled" and learn:
        targets.reading(whole.kind, looked[0], whole.guesses[0]).check(whole.examples)
    return whole


def _beside(entry: Data, built: Built) -> tuple[Data, Built]:
    """Texts that are read whole beside answers: in passages, none held out to be scored, which only answers can be."""
    told = "Read as text: all of it is learned, beside the answers of the other data sets. It is not scored itself."
    rows = built.examples if built.blocks is not None else passages.parted(built.examples)
    split = entry.split.model_copy(update={"test": 0.0, "test_rows": None})
    return entry.model_copy(update={"split": split}), replace(built, examples=rows, notices=[*built.notices, told])


def _require_alike(examples: Sequence[Example], names: Sequence[str]) -> None:
    """Raises DataError where some entries hold pairs of texts and others single ones."""
    held: dict[bool, set[int]] = {True: set(), False: set()}
    for example in examples:
        held[bool(example.second)].add(example.source)
    if not (held[True] and held[False]):
        return
    pairs, single = (", ".join(names[source] for source in sorted(held[side])) for side in (True, False))
    raise DataError(
        f"The texts of the data sets don't go together: {pairs} holds pairs of texts, {single} single ones. A run "
        "reads one or the other.",
        "Choose columns of one text alone (data.columns), or join the two by a prompt template (data.prompt).",
    )


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What can't be used names the data set that it is of, where there are several."""
    try:
        yield
    except DataError as error:
        if not name or name in error.problem:
            raise
        raise DataError(f"{name}: {error.problem}", error.fix) from None


def _in_set(name: str, call: Callable[..., T], *given: Any) -> T:
    with _named(name):
        return call(*given)
