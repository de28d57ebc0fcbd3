"""What `python -m benchmarks.methods` measured of each tuner: quoted by the page, the docs and what is recommended.

An installed copy without the file has nothing to quote.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.home import CHECKOUT

FILE = CHECKOUT / "benchmarks" / "results" / "methods.jsonl"
COSTS = ("seconds", "core_share", "peak_memory_bytes")
HEAD = "head"
"""The tuner that leaves the whole model frozen: what another one adds shows beside it."""


@dataclass(frozen=True)
class Task:
    name: str
    objective: str
    title: str
    short: str
    """After "On"."""
    chance: float
    """The score of guessing among the labels."""


TASKS = (
    Task(
        "minilm",
        "classify",
        "MiniLM, `classify`: 77 intents of a bank's customers, 25 rows of each to learn from, 20 of each held out",
        "77 intents with MiniLM",
        1 / 77,
    ),
    Task(
        "smollm2-135m",
        "chat",
        "SmolLM2-135M, `chat`: the sample run, 480 rows to learn from, 120 held out",
        "the sample with SmolLM2-135M",
        1 / 12,
    ),
    Task(
        "minilm-two-sets",
        "classify",
        "MiniLM, `classify` over two data sets: the 77 intents and the sample's 12 (1,540 and 120 rows held out)",
        "two data sets with MiniLM",
        1 / 77,
    ),
)


@dataclass(frozen=True)
class Figures:
    """Means over the seeds of one tuner on one task."""

    task: Task
    tuner: str
    seeds: int
    score: float
    low: float
    """To `high`: the widest of the seeds' intervals, of 95 %, over which held-out rows were drawn."""
    high: float
    trainable: int
    total: int
    seconds: float
    """Of training alone, on one core and without what other programs took of it; of the fastest seed."""
    peak_memory_bytes: float
    artifact_bytes: int
    right: tuple[float, ...] = ()
    """Of each held-out row, in how many of the seeds it was right, as a share; empty where that was not kept."""

    def over(self, other: Figures) -> tuple[float, float, float] | None:
        """By how much it is right more often, with a 95 % interval over which rows were drawn (they are paired).

        The interval is that of a mean by its standard error. None where the rows were not kept.
        """
        if len(self.right) < 2 or len(self.right) != len(other.right):
            return None
        each = [mine - theirs for mine, theirs in zip(self.right, other.right, strict=True)]
        mean, wide = statistics.mean(each), 1.96 * statistics.stdev(each) / len(each) ** 0.5
        return mean, mean - wide, mean + wide


@dataclass(frozen=True)
class Missing:
    """A tuner that gave no score."""

    task: Task
    tuner: str
    seeds: int
    reason: str
    refused: bool
    """Whether it doesn't go with the task's model at all, which says nothing of other models."""


def of(task: Task, file: Path | None = None) -> list[Figures | Missing]:
    """Every tuner that was tried on a task, the best first."""
    file = file or FILE
    return list(_told(file, file.stat().st_mtime_ns).get(task.name, [])) if file.exists() else []


def figures(objective: str, tuner: str, file: Path | None = None) -> Figures | None:
    """On the task that stands for an objective; on another one of it where that says nothing of the tuner."""
    found = _found(objective, tuner, file)
    return found if isinstance(found, Figures) else None


def shortfall(objective: str, tuner: str, file: Path | None = None) -> str:
    """Why measurements speak against a tuner, in a sentence; empty where they don't, or where there are none."""
    found = _found(objective, tuner, file)
    if found is None:
        return ""
    head = next((one for one in of(found.task, file) if one.tuner == HEAD), None)
    if isinstance(found, Missing):
        return "" if found.refused else f"On {found.task.short} it gave no result: {found.reason}"
    if found.low <= found.task.chance:
        return f"On {found.task.short} it was no better than guessing."
    if tuner != HEAD and isinstance(head, Figures) and found.score <= head.score:
        return (
            f"On {found.task.short} it did not beat a classifier on fixed features ({_percent(found.score)} and "
            f"{_percent(head.score)} right)."
        )
    return ""


def quoted(found: Figures) -> str:
    """In one line."""
    return (
        f"On {found.task.short}: {_percent(found.score)} in {found.seconds:,.0f} s, "
        f"{found.peak_memory_bytes / 1e9:.1f} GB"
    )


def _found(objective: str, tuner: str, file: Path | None) -> Figures | Missing | None:
    """The first task with figures of it, else the first that was refused or lost."""
    tried = [one for task in TASKS if task.objective == objective for one in of(task, file) if one.tuner == tuner]
    return next((one for one in tried if isinstance(one, Figures)), tried[0] if tried else None)


@lru_cache(maxsize=4)
def _told(file: Path, changed: int) -> dict[str, list[Figures | Missing]]:
    """By task. changed: when the file was, so that what is kept is made anew then. A page asks a hundred times."""
    rows = _read(file)
    found = {task.name: [_figures(task, *one) for one in rows.get(task.name, {}).items()] for task in TASKS}
    return {
        name: sorted(told, key=lambda one: -one.score if isinstance(one, Figures) else 1.0)
        for name, told in found.items()
    }


def _read(file: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Rows by task and tuner."""
    newest: dict[tuple[str, str, int], dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        case = row["task"], row["tuner"], row["seed"]
        newest[case] = again(row, newest.get(case))
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in newest.values():
        found[row["task"]][row["tuner"]].append(row)
    return found


def again(row: dict[str, Any], earlier: dict[str, Any] | None) -> dict[str, Any]:
    """What holds of a run that was measured again, such as with another learning rate.

    It is the newer one; but seconds and memory of a processor without bfloat16 can't stand beside others', so that
    those of the earlier run stay.
    """
    without = row.get("machine", {}).get("bfloat16") is False
    if earlier is None or "score" not in earlier or not without:
        return row
    return row | {name: earlier[name] for name in COSTS if name in earlier}


def _figures(task: Task, tuner: str, runs: list[dict[str, Any]]) -> Figures | Missing:
    done = [run for run in runs if "score" in run]
    if not done:
        refused = runs[0].get("refused")
        return Missing(task, tuner, len(runs), str(refused or runs[0].get("failed")), bool(refused))
    mean = {key: statistics.mean(run[key] for run in done) for key in ("score", "peak_memory_bytes")}
    widest = max(done, key=lambda run: run["high"] - run["low"])
    return Figures(
        task,
        tuner,
        len(done),
        **mean,
        seconds=min(run["seconds"] * run.get("core_share", 1) for run in done),
        low=widest["low"],
        high=widest["high"],
        trainable=done[0]["trainable"],
        total=done[0]["total"],
        artifact_bytes=done[0]["artifact_bytes"],
        right=_shares([_bits(run["right"], run["rows"]) for run in done if run.get("right")]),
    )


def _bits(written: str, rows: int) -> str:
    return f"{int(written, 16):0{rows}b}"


def _shares(runs: list[str]) -> tuple[float, ...]:
    return tuple(column.count("1") / len(runs) for column in zip(*runs, strict=True))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
