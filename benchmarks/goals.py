"""Tables of what was measured of objectives, for docs/methods.md: means over the seeds that there are.

`benchmarks.domain`, `benchmarks.cloze`, `benchmarks.students` and `benchmarks.mixture` write the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

from benchmarks import cloze, domain, mixture, students
from benchmarks.record import kept

Row = dict[str, Any]


def told() -> Iterator[str]:
    """A section for each of them that has rows."""
    sections: tuple[tuple[str, Callable[[list[Row]], Iterator[str]]], ...] = (
        (domain.NAME, _domain),
        (cloze.NAME, _cloze),
        (students.NAME, _students),
        (mixture.NAME, _mixture),
    )
    found = [(tell, rows) for name, tell in sections if (rows := [row for row in kept(name) if "failed" not in row])]
    if not found:
        return
    yield from ("", "## What objectives brought", "")
    yield "On real models, by the scripts that are named. Means over seeds; intervals (95 %) are over held-out rows, of"
    yield "one seed, the widest where there are several. Seconds are of training alone, of the fastest seed, on one"
    yield "core beside other programs. They compare within a day at most: the first rows are of a processor without"
    yield "bfloat16, later ones of one with it. A way or a seed without a row is still to be run."
    for tell, rows in found:
        yield ""
        yield from tell(rows)


def _domain(rows: list[Row]) -> Iterator[str]:
    yield from ("### text: four legal documents, SmolLM2-135M (`python -m benchmarks.domain`)", "")
    yield "Bits a byte of held-out blocks before and after two passes, and of general text: what was forgotten."
    yield from _head("way", "own text", "general text", "seconds", "seeds")
    for way, own in _by(rows, "way"):
        yield _line(
            way,
            *(_arrow(own, name) for name in ("bits_per_byte", "general_bits_per_byte")),
            f"{min(row['seconds'] for row in own):.0f}",
            len(own),
        )


def _cloze(rows: list[Row]) -> Iterator[str]:
    yield from ("### cloze beside classification heads (`python -m benchmarks.cloze`)", "")
    yield "Accuracy with so many rows of each label to learn from."
    yield from _head("data", "rows of each label", "objective", "tuner", "before", "after", "interval", "seeds")
    for (data, count, goal, tuner), own in _by(rows, "data", "rows", "objective", "tuner"):
        before = [row["before"]["accuracy"] for row in own if "accuracy" in row["before"]]
        yield _line(
            data,
            count,
            f"`{goal}`",
            f"`{tuner}`",
            _share(mean(before)) if before else "",
            _share(mean(row["after"]["accuracy"] for row in own)),
            _widest([(row["after"]["accuracy_low"], row["after"]["accuracy_high"]) for row in own]),
            len(own),
        )


def _students(rows: list[Row]) -> Iterator[str]:
    yield from (f"### distill: students with {students.LAYERS} of 30 layers (`python -m benchmarks.students`)", "")
    yield "Answers to the sample's held-out messages that are right, and how much of the gap to the teacher is closed."
    yield from _head("way", "before", "after", "teacher", "of the gap", "interval", "seconds", "weights", "seeds")
    for way, own in _by(rows, "way"):
        shares = [row for row in own if row["share"] is not None]
        yield _line(
            way,
            *(_share(mean(row[name] for row in own)) for name in ("before", "after", "teacher")),
            _share(mean(row["share"] for row in shares)) if shares else "no gap",
            _widest([(row["low"], row["high"]) for row in shares]) if shares else "",
            f"{min(row['seconds'] for row in own):.0f}",
            f"{own[0]['total']:,}",
            len(own),
        )


def _mixture(rows: list[Row]) -> Iterator[str]:
    yield from ("### mixture: three tasks in one run beside each alone (`python -m benchmarks.mixture`)", "")
    yield "Right answers to each task's held-out rows, with the widest interval, and seconds of the run."
    yield from _head("way", *mixture.TASKS, "seconds", "seeds")
    for way, own in _by(rows, "way"):
        cells = [_task([found for row in own if (found := row["tasks"].get(task))]) for task in mixture.TASKS]
        yield _line(way, *cells, f"{min(row['seconds'] for row in own):.0f}", len(own))


def _task(found: Sequence[Sequence[float]]) -> str:
    """found: share, and the ends of its interval."""
    if not found:
        return ""
    return f"{_share(mean(score for score, _, _ in found))} ({_widest([(low, high) for _, low, high in found])})"


def _by(rows: list[Row], *names: str) -> list[tuple[Any, list[Row]]]:
    """Rows that agree in these, in the order in which each came first."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(row[names[0]] if len(names) == 1 else tuple(row[name] for name in names), []).append(row)
    return list(found.items())


def _arrow(rows: list[Row], name: str) -> str:
    return " → ".join(f"{mean(row[when][name] for row in rows):.3f}" for when in ("before", "after"))


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _widest(found: list[tuple[float, float]]) -> str:
    low, high = max(found, key=lambda pair: pair[1] - pair[0])
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _head(*names: str) -> Iterator[str]:
    yield from ("", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}")


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
