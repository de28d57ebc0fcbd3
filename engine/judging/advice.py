"""What to try next: at most three new runs, each with its reason from this one and the settings that make it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.data.rows import counted, listed
from engine.judging import trend
from engine.judging.evidence import Evidence
from engine.judging.measures import loss, measure, share
from engine.judging.scores import ScoredRow
from engine.judging.verdict import Verdict
from engine.specs.spec import RunSpec

MOST = 3
FEW_ROWS, FEW_ROWS_A_LABEL = 100, 10
"""Fewer to learn from teach little but themselves."""
SURE_NATS = 2.0
"""Mean loss from which on a wrong answer was no close call: the expected one had a chance below 14 % a token."""
MANY_SURE = 0.05
"""Share of the scored rows that are wrong so surely, from which on their labels are worth a look: where most other rows
are right."""
NOT_ALIKE = 0.2
"""A split that is so much off the share asked for is the data's own."""
FEW_TO_TELL = 5
"""Held-out rows of a label from which on missing most of them says something."""
PATIENCE = 2
"""Checks in a row without a better held-out loss, after which an advised run ends."""


@dataclass(frozen=True)
class Advice:
    """changes: dotted names of the spec with their new values; empty where the rows are to change, not the settings."""

    title: str
    reason: str
    changes: dict[str, Any] = field(default_factory=dict)


def advise(found: Evidence, verdict: Verdict) -> list[Advice]:
    """The most telling first. No two change the same setting."""
    chosen: list[Advice] = []
    taken: set[str] = set()
    for advice in _all(found, verdict):
        if len(chosen) < MOST and not taken & advice.changes.keys():
            chosen.append(advice)
            taken |= advice.changes.keys()
    return chosen


def _all(found: Evidence, verdict: Verdict) -> Iterator[Advice]:
    kinds = verdict.kinds
    if "diverged" in kinds:
        yield from _calmer(found, verdict)
    else:
        yield from _labels(found)
    if "overfitted" in kinds:
        yield from _shorter(found, verdict)
    if "worse" in kinds and "diverged" not in kinds and "overfitted" not in kinds:
        yield _lower_rate(found, f"{verdict.headline}.")
    if "noise" in kinds:
        yield from _more_held_out(found, verdict)
    if "uncompared" in kinds:
        reason = "Without a score of the model before training it is not known what training added."
        yield Advice("Score the model before training, too", reason, {"evaluation.before": True})
    if "unscored" in kinds:
        reason = "No rows were held out, so nothing can be said of rows that it did not learn from."
        yield from _split("test", "Hold out rows to score", reason, found.spec)
    yield from _rare_labels(found)
    yield from _longer_rows(found)
    if "underfitted" in kinds:
        yield from _stronger(found, verdict)
    yield from _more_rows(found, verdict)
    if "overfitted" in kinds and getattr(found.spec.tuner_settings, "dropout", None) == 0:
        reason = f"{_rose(verdict)} What is left out at random is harder to learn by heart."
        yield Advice("Leave out a tenth of the additions' inputs (dropout)", reason, {"tuner.dropout": 0.1})
    watches = found.spec.tuner.kind == "gradient"
    if found.finished and found.counts and not found.counts.get("validation") and "diverged" not in kinds and watches:
        reason = "No rows watched the training, so nothing shows whether fewer or more passes would have done better."
        yield from _split("validation", "Hold out rows to watch the training by", reason, found.spec)


# Too fast


def _calmer(found: Evidence, verdict: Verdict) -> Iterator[Advice]:
    moved = verdict.trends.get("diverged")
    reason = "" if found.failed else f"{verdict.headline}."
    if isinstance(moved, trend.Move):
        reason = f"Training loss rose from {loss(moved.first)} to {loss(moved.last)}."
    yield _lower_rate(found, reason)
    if found.spec.training.clip_norm == 0:
        yield Advice(
            "Clip long gradients",
            "Gradient clipping is off, so that a single odd row can throw the weights far away.",
            {"training.clip_norm": 1.0},
        )


def _lower_rate(found: Evidence, reason: str) -> Advice:
    rate = _rate(found)
    lower = _rounded(rate / 3)
    return Advice(
        f"A lower learning rate: {lower:g} in place of {rate:g}",
        f"{reason} A third of the learning rate makes smaller steps.".strip(),
        {"training.learning_rate": lower},
    )


def _rate(found: Evidence) -> float:
    """The learning rate that was used, or would have been."""
    spec = found.spec
    return found.learning_rate or spec.training.learning_rate or spec.tuner.rate_with(spec.objective)


# Too long


def _shorter(found: Evidence, verdict: Verdict) -> Iterator[Advice]:
    turn = verdict.trends["overfitted"]
    if not isinstance(turn, trend.Turn) or not found.total_steps:
        return
    training = found.spec.training
    changes: dict[str, Any] = {}
    if training.max_steps is not None and training.max_steps <= found.total_steps:
        title = f"Fewer steps: {turn.best.step:,} in place of {training.max_steps:,}"
        changes["training.max_steps"] = turn.best.step
    else:
        passes = max(0.1, round(training.epochs * turn.best.step / found.total_steps, 1))
        title = f"Fewer passes: {passes:g} in place of {training.epochs:g}"
        changes["training.epochs"] = passes
    if found.spec.evaluation.early_stopping is None:
        changes["evaluation.early_stopping"] = PATIENCE
        yield Advice(f"{title}, and an early stop", _rose(verdict), changes)
    else:
        yield Advice(title, _rose(verdict), changes)


def _rose(verdict: Verdict) -> str:
    turn = verdict.trends["overfitted"]
    if not isinstance(turn, trend.Turn):
        return ""
    return (
        f"Held-out loss was lowest at step {turn.best.step:,} ({loss(turn.best.loss)}) and "
        f"{loss(turn.last.loss)} at step {turn.last.step:,}."
    )


# Too little


def _stronger(found: Evidence, verdict: Verdict) -> Iterator[Advice]:
    moved = verdict.trends["underfitted"]
    if not isinstance(moved, trend.Move):
        return
    training = found.spec.training
    reason = f"Training loss was still falling at the end, from {loss(moved.first)} to {loss(moved.last)}."
    if training.max_steps is not None and training.max_steps <= found.total_steps:
        title = f"More steps: {2 * training.max_steps:,} in place of {training.max_steps:,}"
        yield Advice(title, reason, {"training.max_steps": 2 * training.max_steps})
    elif training.epochs <= 500:
        title = f"More passes: {2 * training.epochs:g} in place of {training.epochs:g}"
        yield Advice(title, reason, {"training.epochs": 2 * training.epochs})
    rate = _rate(found)
    if rate <= 0.5:
        higher = _rounded(2 * rate)
        title = f"A higher learning rate: {higher:g} in place of {rate:g}"
        yield Advice(title, f"{reason} Larger steps come further in the same time.", {"training.learning_rate": higher})
    rank = getattr(found.spec.tuner_settings, "rank", None)
    if isinstance(rank, int) and rank <= 512:
        title = f"A higher rank: {2 * rank} in place of {rank}"
        yield Advice(title, f"{reason} Wider additions can learn more.", {"tuner.rank": 2 * rank})


def _more_rows(found: Evidence, verdict: Verdict) -> Iterator[Advice]:
    rows = found.counts.get("train", 0)
    scored = found.after or found.before
    labels = {label for row in scored for label in _named(row)}
    chooses = found.spec.objective.wants == "labelled" and found.spec.objective.tells_labels(
        found.spec.objective_settings
    )
    labelled = chooses or (found.spec.objective.wants != "labelled" and 1 < 2 * len(labels) <= len(scored))
    few = 0 < rows < FEW_ROWS
    thin = labelled and 0 < rows < FEW_ROWS_A_LABEL * len(labels)
    if not (few or thin) or verdict.kinds[0] in ("stopped", "failed", "diverged"):
        return
    each = f", for {counted(len(labels), 'label', 'labels')} in the held-out rows alone" if thin else ""
    yield Advice(
        f"More rows to learn from: it had {rows:,}",
        f"It learned from {counted(rows, 'row', 'rows')}{each}. More rows help more than any setting here.",
    )


def _longer_rows(found: Evidence) -> Iterator[Advice]:
    cut, training = found.cut, found.spec.training
    # A cut at less than the spec allows is the model's own limit.
    if cut is None or cut.max_tokens != training.max_tokens or cut.max_tokens > 500_000:
        return
    yield Advice(
        f"Longer rows: {2 * cut.max_tokens:,} tokens in place of {cut.max_tokens:,}",
        f"{cut.rows:,} of {counted(cut.of, 'row', 'rows')} to learn from were cut at {cut.max_tokens:,} tokens, "
        "so their ends were never learned.",
        {"training.max_tokens": 2 * cut.max_tokens},
    )


# The rows


def _labels(found: Evidence) -> Iterator[Advice]:
    """Labels that contradict each other, or that the trained model is sure are others."""
    for finding in found.findings:
        if finding.get("name") in ("conflicts", "near labels"):
            rows = f", among them {listed(finding['rows'], 5)}" if finding.get("rows") else ""
            yield Advice(
                f"Decide for one label: {counted(finding['count'], 'row', 'rows')} to look at",
                f"{finding['title']}: {finding['count']:,}{rows}. No training can learn both.",
            )
    if found.spec.objective.wants == "labelled" and not _one_each(found):
        return
    labels = {row.expected.strip() for row in found.after}
    sure = [
        row
        for row in found.after
        if row.score == 0 and row.loss is not None and row.loss >= SURE_NATS and row.answer.strip() in labels
    ]
    mostly_right = 2 * sum(row.score for row in found.after) > len(found.after)
    if mostly_right and len(sure) >= max(2, MANY_SURE * len(found.after)):
        sure.sort(key=lambda row: -(row.loss or 0.0))
        rows = listed([row.row for row in sure], 5)
        yield Advice(
            f"Look at the labels of {counted(len(sure), 'row', 'rows')}: {rows}",
            f"{len(sure):,} of {counted(len(found.after), 'held-out row', 'held-out rows')} are answered with another "
            f"label, the expected one having a loss of {loss(SURE_NATS)} or more. Perhaps their labels are wrong.",
        )


def _one_each(found: Evidence) -> bool:
    """Whether each row was given one label, whose loss tells how sure that was."""
    chooses = found.spec.objective.tells_labels(found.spec.objective_settings)
    return chooses and all(row.wanted is None and row.marks is None for row in found.after)


def _named(row: ScoredRow) -> list[str]:
    """The labels that are expected of a row, of marked words that of each mark."""
    if row.marks is not None:
        return [label for _, _, label in row.marks["expected"]]
    return [row.expected] if row.wanted is None else row.wanted


def _rare_labels(found: Evidence) -> Iterator[Advice]:
    """Labels of few rows that the trained model misses much more often than it errs elsewhere."""
    if not _one_each(found):
        return
    uneven = any(finding.get("name") == "uneven labels" for finding in found.findings)
    if not uneven or getattr(found.spec.objective_settings, "class_weights", "") != "none" or not found.after:
        return
    if found.spec.tuner.kind == "merge" or found.spec.tuner.unweighable(found.spec.tuner_settings):
        return
    rows = Counter(row.expected for row in found.after)
    right = Counter(row.expected for row in found.after if row.score == 1)
    whole = right.total() / len(found.after)
    rare = [label for label, count in rows.items() if FEW_TO_TELL <= count <= max(rows.values()) / 4]
    missed = min(rare, key=lambda label: (right[label] / rows[label], label), default=None)
    if missed is None or right[missed] / rows[missed] > whole / 2:
        return
    yield Advice(
        "Let rare labels count more (class weights: balanced)",
        f"Of the {rows[missed]:,} held-out rows with the label {missed!r}, which has few rows, {right[missed]:,} got "
        f"it; of all rows {share(whole)} are right.",
        {"objective.class_weights": "balanced"},
    )


def _more_held_out(found: Evidence, verdict: Verdict) -> Iterator[Advice]:
    change = verdict.difference
    if change is None or not change.rows:
        return
    scale = measure(found.main)
    between = f"from {scale.change(change.low)} to {scale.change(change.high)} {scale.change_unit}"
    if verdict.measure == "loss":
        between = f"from {change.low:+.3f} to {change.high:+.3f} {found.loss_unit}"
    reason = f"On {counted(change.rows, 'row', 'rows')} the true change may lie anywhere {between}."
    if not change.up and not change.down:
        reason = f"None of {counted(change.rows, 'row', 'rows')} changed; a small change needs more rows to show."
    split = str(found.metrics.get("split") or "test")
    there = found.counts.get(split, 0)
    if there > change.rows:
        title = f"Score all {there:,} held-out rows in place of {change.rows:,}"
        yield Advice(title, reason, {"evaluation.max_rows": min(there, 100_000)})
        return
    changes = _doubled(found, split)
    title = "Hold out twice as many rows to score" if changes else "More held-out rows to score"
    yield Advice(title, reason, changes)


def _doubled(found: Evidence, split: str) -> dict[str, Any]:
    """Settings that hold out twice as many rows; empty where the data brings its own division or has no room."""
    total = sum(found.counts.values())
    changes: dict[str, Any] = {}
    for index, entry in enumerate(found.spec.data):
        portion, exact = getattr(entry.split, split), getattr(entry.split, f"{split}_rows")
        other = entry.split.validation if split == "test" else entry.split.test
        if exact:
            if 4 * exact > total:
                return {}
            changes[f"data.{index}.split.{split}_rows"] = 2 * exact
            continue
        its_own = len(found.spec.data) == 1 and abs(found.counts.get(split, 0) - portion * total) > max(
            2, NOT_ALIKE * portion * total
        )
        if not portion or its_own or 2 * portion + other > 0.6:
            return {}
        changes[f"data.{index}.split.{split}"] = round(2 * portion, 3)
    return changes


def _split(split: str, title: str, reason: str, spec: RunSpec) -> Iterator[Advice]:
    """Hold out a tenth of the rows for a purpose that has none. Data that has its own division follows no setting."""
    changes: dict[str, Any] = {}
    for index, entry in enumerate(spec.data):
        portion, exact = getattr(entry.split, split), getattr(entry.split, f"{split}_rows")
        other = entry.split.validation if split == "test" else entry.split.test
        if other > 0.6:
            return
        if not portion:
            changes[f"data.{index}.split.{split}"] = 0.1
        if exact is not None:
            changes[f"data.{index}.split.{split}_rows"] = None
    yield Advice(title, reason, changes)


def _rounded(value: float) -> float:
    """Two digits that count: a learning rate is no finer thing."""
    return float(f"{value:.2g}")
