"""From the data entries of a spec to the examples of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.data import content, examples, history, table
from engine.data.audit import Finding, audit
from engine.data.example import Example, SplitName
from engine.data.formats import Guess
from engine.data.rows import RowProblem, Table, counted
from engine.data.split import SplitReport, split
from engine.errors import DataError
from engine.method import Wants
from engine.sections import Data
from engine.tokens import Encoded

_SHOWN = 5


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
) -> Prepared:
    """Read, recognise, build, split and audit every entry.

    Rows with problems are left out of the examples and listed; `Prepared.require` refuses them where the entry
    says so. encode: counts tokens for the audit. tables: of all entries, where they were read already.
    learn: False for rows that are only scored, which need not hold several classes.
    Raises DataError where an entry can't be used at all.
    """
    whole = Prepared([], [], [], [])
    taken: dict[str, SplitName] = {}
    for source, entry in enumerate(entries):
        read = tables[source] if tables else table.load(entry)
        built = examples.build(read, entry, wants, source)
        keys = content.prompt_keys(built.examples)
        if built.blocks is None:
            divided, report = split(built.examples, entry.split, seed, built.divided, taken, keys)
            for key, example in zip(keys, divided, strict=True):
                taken.setdefault(key, example.split)
        else:
            divided, report = split(built.examples, entry.split, seed, built.divided, keys=built.blocks)
        made = history.read(entry.source)
        notices = [*([str(made)] if made else []), *read.notices, *built.notices, *report.notices]
        if built.problems and entry.bad_rows == "skip":
            notices.append(f"{counted(len(built.problems), 'row', 'rows')} with problems left out.")
        elif built.problems:
            whole.blocking.extend(built.problems)
        prefix = f"{history.title(entry.source)}: " if len(entries) > 1 else ""
        whole.examples.extend(divided)
        whole.problems.extend(built.problems)
        whole.notices.extend(prefix + notice for notice in notices)
        if built.rows is None:
            whole.findings.extend(audit(divided, encode, source, keys, read))
        else:  # findings are of the rows, which can be mended, not of what they are joined to
            whole.findings.extend(audit(built.rows, encode, source, read=read))
        whole.guesses.append(built.guess)
        whole.splits.append(report)
    if wants == "labelled" and learn:
        examples.check_classes(whole.examples, whole.guesses[0])
    return whole
