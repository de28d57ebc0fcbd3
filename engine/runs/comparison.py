"""Two runs side by side: what was set differently, what came of it, and whether the difference is noise.

Their results are compared on the held-out rows that both answered, row by row (`engine.judging.pairing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import objectives, tuners
from engine.data.rows import counted
from engine.judging import pairing
from engine.judging.evidence import Evidence, Point, gather, paired
from engine.judging.measures import Measure, measure
from engine.judging.pairing import Difference
from engine.judging.scores import ScoredRow
from engine.runs import view
from engine.runs.store import Run
from engine.settings import Section, describe
from engine.specs.sections import Common
from engine.specs.spec import RunSpec

A, B = "A", "B"
MOST_POINTS = 300
"""Of one curve."""
MOST_ROWS = 40
LONGEST_TEXT = 4000
UNTOLD = ("version", "name", "output.webhook")
"""Not settings of what the model learns; an address that takes messages may be a secret."""
Pairs = Sequence[tuple[ScoredRow, ScoredRow]]
"""Rows as A and as B answered them."""


@dataclass(frozen=True)
class Setting:
    place: str
    """In the spec ("tuner.rank")."""
    title: str
    a: Any
    b: Any
    """None in a run that has no such setting."""


@dataclass(frozen=True)
class Row:
    """A held-out row that the two answered differently."""

    row: int
    prompt: str
    expected: str
    a: str
    b: str
    better: str
    """A, B, or empty where neither is."""


@dataclass(frozen=True)
class Comparison:
    sentence: str
    """Which is better, or that it can't be told."""
    data: str
    """Whether they learned from the same rows."""
    settings: list[Setting]
    runs: list[dict[str, Any]]
    """Of A and B: summary, metrics, weights that learned, and curves (train and held: [step, loss])."""
    rows: list[Row]
    counts: dict[str, int]
    """Rows that both answered: better in A, better in B, answered differently but no better, answered alike."""
    difference: Difference | None = None
    """B − A."""
    better: str = ""
    """A, B, or empty where it can't be told from chance."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(a: Run, b: Run, names: tuple[str, str] = (A, B)) -> Comparison:
    """names: what the two are called in sentences. Raises UserError where the settings of one can't be read."""
    found = gather(a.folder, a.state), gather(b.folder, b.state)
    same_measure = found[0].after and found[1].after and found[0].main == found[1].main
    pairs = paired(found[0].after, found[1].after) if same_measure else []
    scale = measure("loss" if _by_loss(pairs) else found[0].main)
    change = _difference(pairs, scale)
    rows = [_row(x, y, scale) for x, y in pairs if x.answer != y.answer or x.score != y.score]
    counts = {side: sum(row.better == side for row in rows) for side in (A, B, "")}
    return Comparison(
        sentence=_sentence(found[0], pairs, change, scale, names) if change else _why_not(*found, names),
        data=_data(a, b, *found, len(pairs), names=names),
        settings=list(_settings(found[0].spec, found[1].spec)),
        runs=[_side(run, evidence) for run, evidence in zip((a, b), found, strict=True)],
        rows=sorted(rows, key=lambda row: (not row.better, row.row))[:MOST_ROWS],
        counts={A: counts[A], B: counts[B], "other": counts[""], "alike": len(pairs) - len(rows)},
        difference=change,
        better=_better(change, scale) if change else "",
    )


# Whether the difference is noise


def _by_loss(pairs: Pairs) -> bool:
    """Free text never matches letter by letter; where no answer did, the loss alone can tell."""
    losses = all(row.loss is not None for pair in pairs for row in pair)
    return bool(pairs) and losses and not any(row.score for pair in pairs for row in pair)


def _difference(pairs: Pairs, scale: Measure) -> Difference | None:
    if not pairs:
        return None
    if scale.unit == "nats":
        return pairing.difference(*([_figure(pair[side], scale) for pair in pairs] for side in (0, 1)))
    return pairing.of_rows(*([pair[side] for pair in pairs] for side in (0, 1)))


def _better(change: Difference, scale: Measure) -> str:
    if not change.certain:
        return ""
    return B if (change.mean > 0) != scale.lower_is_better else A


def _sentence(a: Evidence, pairs: Pairs, change: Difference, scale: Measure, names: tuple[str, str]) -> str:
    one, other_one = names
    rows = f"On the {counted(len(pairs), 'held-out row', 'held-out rows')} that both answered,"
    first, second = (_of_all([pair[side] for pair in pairs], scale) for side in (0, 1))
    verb = "are" if scale.unit == "bits" else "is"
    told = f"{scale.title.lower()} {verb} {scale.written(first)} for {one} and {scale.written(second)} for {other_one}"
    if not change.up and not change.down:
        return f"{rows} {one} and {other_one} do equally well: {told}, row by row."
    unit = a.loss_unit if scale.unit == "nats" else scale.change_unit
    between = f"95 % interval {scale.change(change.low)} to {scale.change(change.high)}, paired row by row"
    differing = f"a difference of {scale.change(change.mean)} {unit} ({between})"
    if not change.certain:
        return f"{rows} no difference between {one} and {other_one} can be told from chance: {told}, {differing}."
    better, other = (other_one, one) if _better(change, scale) == B else (one, other_one)
    # From the better one's side, so that nobody has to turn a minus round.
    low, high = sorted(map(abs, (change.low, change.high)))
    size, *ends = (scale.change(abs(value)).lstrip("+") for value in (change.mean, low, high))
    more = "less" if scale.lower_is_better else "more"
    return (
        f"{rows} {better} does better: {told}, which is {size} {unit} {more} than {other} "
        f"(95 % interval {ends[0]} to {ends[1]}, paired row by row)."
    )


def _why_not(a: Evidence, b: Evidence, names: tuple[str, str]) -> str:
    for name, found in zip(names, (a, b), strict=True):
        if not found.after:
            why = "it has not finished" if found.state != "finished" else "no rows were held out to score it"
            return f"Which is better is not known: {name} has no score after training, since {why}."
    if a.main != b.main:
        titles = [measure(found.main).title.lower() for found in (a, b)]
        return f"Which is better is not known: {names[0]} is scored by {titles[0]} and {names[1]} by {titles[1]}."
    return (
        f"Which is better is not known: {names[0]} and {names[1]} were scored on different rows, and have none in "
        "common."
    )


def _data(a: Run, b: Run, first: Evidence, second: Evidence, common: int, *, names: tuple[str, str]) -> str:
    hashes = [_hash(run.folder / "examples.jsonl") for run in (a, b)]
    if hashes[0] and hashes[0] == hashes[1]:
        return "Both learned from the same rows, split in the same way."
    counts = [counted(found.counts.get("train", 0), "row", "rows") for found in (first, second)]
    told = f"The data differs: {names[0]} learned from {counts[0]}, {names[1]} from {counts[1]}."
    if not (first.after and second.after):
        return told
    most = max(len(first.after), len(second.after))
    if not common:
        return f"{told} Their scores stand on different rows; a difference may come from the rows alone."
    if common == most:
        return f"{told} The held-out rows are the same."
    return f"{told} Only the {common:,} of {most:,} held-out rows that both answered are compared."


def _hash(path: Path) -> str:
    try:
        return _hash_at(path, path.stat().st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=500)
def _hash_at(path: Path, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# What was set differently


def _settings(a: RunSpec, b: RunSpec) -> Iterator[Setting]:
    values = [_flat(spec.as_dict()) for spec in (a, b)]
    titles = {**_titles(a), **_titles(b)}
    for place in dict.fromkeys([*values[0], *values[1]]):
        left, right = values[0].get(place), values[1].get(place)
        if left != right and place not in UNTOLD:
            yield Setting(place, titles.get(place, place), left, right)


def _flat(values: Any, place: str = "") -> dict[str, Any]:
    """Values by their place ("data.0.split.test"); mappings and lists of mappings are gone into."""
    inside = place + "." if place else ""
    if isinstance(values, dict) and values:
        return {key: value for name, inner in values.items() for key, value in _flat(inner, f"{inside}{name}").items()}
    if isinstance(values, list) and values and all(isinstance(item, dict) for item in values):
        return {key: value for i, inner in enumerate(values) for key, value in _flat(inner, f"{inside}{i}").items()}
    return {place: values}


def _titles(spec: RunSpec) -> dict[str, str]:
    """What people call each setting, by its place."""
    found = {"objective.name": "What it learns from", "tuner.name": "What of it changes"}
    for part, registry in (("objective", objectives), ("tuner", tuners)):
        found |= _section_titles(registry.get(getattr(spec, part).name).Settings, f"{part}.")
    found |= _section_titles(Common, "")
    for i, entry in enumerate(spec.data):
        found |= _section_titles(type(entry), f"data.{i}.")
    return found


def _section_titles(section: type[Section], place: str) -> dict[str, str]:
    found = {}
    for setting in describe(section):
        found[f"{place}{setting.name}"] = setting.title
        inner = section.model_fields[setting.name].annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            found |= _section_titles(inner, f"{place}{setting.name}.")
    return found


# What came of it


def _side(run: Run, found: Evidence) -> dict[str, Any]:
    done = found.finished
    return {
        "summary": view.summary(run),
        "before": found.metrics.get("before"),
        "after": found.metrics.get("after"),
        "measure": {"name": found.main, **asdict(measure(found.main))},
        "trainable_parameters": done.trainable_parameters if done else None,
        "total_steps": found.total_steps,
        "train": _curve(found.train),
        "held": _curve(found.held),
    }


def _curve(course: Sequence[Point]) -> list[list[float]]:
    stride = max(1, -(-len(course) // MOST_POINTS))
    kept = course[::-1][::stride][::-1]
    return [[point.step, float(f"{point.loss:.5g}")] for point in kept]


def _row(a: ScoredRow, b: ScoredRow, scale: Measure) -> Row:
    gain = _figure(b, scale) - _figure(a, scale)
    gain = -gain if scale.lower_is_better else gain
    better = B if gain > 0 else A if gain < 0 else ""
    prompt, expected, first, second = (text[:LONGEST_TEXT] for text in (a.prompt, a.expected, a.answer, b.answer))
    return Row(a.row, prompt, expected, first, second, better)


def _of_all(rows: Sequence[ScoredRow], scale: Measure) -> float:
    return sum(_figure(row, scale) for row in rows) / len(rows) if scale.unit == "nats" else pairing.figure(rows)


def _figure(row: ScoredRow, scale: Measure) -> float:
    return (row.loss or 0.0) if scale.unit == "nats" else row.score
