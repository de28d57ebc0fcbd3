"""What a person should know before a run starts: things that will make its result worse, or hard to judge."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from engine.data.example import Example
from engine.judging.measures import measure
from engine.machine import Machine
from engine.planning.plan import Plan
from engine.specs.spec import RunSpec
from engine.texts.preview import Lengths

FEW_ROWS_OF_A_LABEL = 5
FEW_ROWS = 50
ENOUGH_TO_JUDGE = 100
"""Held-out rows from which on a gain of some 14 points is told from chance."""
LONG_RUN_S = 2 * 3600
MOST_LABELS = 100
"""More different answers than this are no labels."""
MOST_NAMED = 3


def found(
    spec: RunSpec, examples: Sequence[Example], lengths: Lengths, plan: Plan, here: Machine, trained: int
) -> list[str]:
    """A sentence for each. trained: how many weights learn."""
    rows = {split: [e for e in examples if e.split == split] for split in ("train", "validation", "test")}
    main = spec.objective.main(spec.objective_settings)
    told = [
        *_cut(lengths, spec),
        *_few(rows["train"]),
        *_labels(rows["train"], rows["validation"] + rows["test"]),
        *_held_out(len(rows["test"] or rows["validation"]), spec.evaluation.max_rows, main),
        *[reason for reason in plan.reasons if reason.startswith("Memory is tight")],
        *_disk(spec, plan, here, trained),
        *_long(plan),
    ]
    return told


def visible_gain(rows: int) -> int:
    """Percentage points between two scores on this many rows each that chance would give less than once in twenty."""
    return math.ceil(100 * 1.96 * math.sqrt(2 * 0.25 / rows))


def _cut(lengths: Lengths, spec: RunSpec) -> list[str]:
    told = []
    if lengths.truncated:
        rows = _rows(lengths.truncated, "is", "are")
        told.append(f"{rows} longer than {spec.training.max_tokens:,} tokens and cut {spec.objective.cut}.")
    if lengths.unlearned:
        told.append(f"In {_rows(lengths.unlearned, '', '').strip()} nothing is left to learn after the cut.")
    return told


def _few(train: Sequence[Example]) -> list[str]:
    if len(train) >= FEW_ROWS:
        return []
    return [f"{_rows(len(train), 'is', 'are')} little to learn from: the model may learn them by heart and no more."]


def _labels(train: Sequence[Example], held: Sequence[Example]) -> list[str]:
    counts = Counter(label for example in train for label in _named(example))
    outside = Counter(label for example in held for label in _named(example))
    every = counts.keys() | outside.keys()
    if len(every) < 2 or len(every) > min(MOST_LABELS, len(train) // 2):
        return []
    told = []
    few = sorted(label for label, count in counts.items() if count < FEW_ROWS_OF_A_LABEL)
    if few:
        verb = "has" if len(few) == 1 else "have"
        told.append(
            f"{_labelled(len(few))} of {len(every)} {verb} fewer than {FEW_ROWS_OF_A_LABEL} rows to learn from: "
            f"{_some(few)}."
        )
    never = sorted(outside.keys() - counts.keys())
    if never:
        verb = "stands" if len(never) == 1 else "stand"
        told.append(f"{_labelled(len(never))} {verb} in held-out rows only and can't be learned: {_some(never)}.")
    return told


def _held_out(rows: int, most: int, metric: str) -> list[str]:
    rows = min(rows, most)
    if not rows:
        return ["No rows are held out, so nothing will say whether it learned."]
    if rows >= ENOUGH_TO_JUDGE or measure(metric).unit != "share":
        return []
    least = visible_gain(rows)
    held = _rows(rows, "is", "are")
    return [f"{held} held out to score it: only a gain of about {least} points or more can be told from chance."]


def _disk(spec: RunSpec, plan: Plan, here: Machine, trained: int) -> list[str]:
    # A checkpoint holds what learns and AdamW's two moments, all in float32.
    needed = (spec.output.keep_checkpoints + 2) * 12 * trained + 4 * trained
    if needed < 0.8 * here.disk_free:
        return []
    free = f"{here.disk_free / 1e9:.1f} GB are free"
    return [f"The disk is short: checkpoints and result take about {needed / 1e9:.1f} GB, and {free}."]


def _long(plan: Plan) -> list[str]:
    seconds = plan.estimate_seconds
    if seconds is None or seconds < LONG_RUN_S:
        return []
    ways = "Fewer passes, shorter rows or a smaller model shorten it"
    ways += "; a machine with a GPU would be many times faster." if plan.device == "cpu" else "."
    return [f"This takes about {seconds / 3600:.0f} hours here. {ways}"]


def _named(example: Example) -> list[str]:
    """The labels of a row, of marked words that of each mark; a number is none."""
    if example.marks is not None:
        return [label for _, _, label in example.marks]
    if example.number is not None:
        return []
    return [(example.label or example.answer).strip()] if example.labels is None else example.labels


def _rows(count: int, one: str, many: str) -> str:
    return f"{count:,} row{'' if count == 1 else 's'} {one if count == 1 else many}"


def _labelled(count: int) -> str:
    return f"{count} label{'' if count == 1 else 's'}"


def _some(labels: Sequence[str]) -> str:
    shown = ", ".join(label if len(label) <= 40 else f"{label[:39]}…" for label in labels[:MOST_NAMED])
    return shown + (f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else "")
