"""The scores by which results are judged: what they are called, what they mean, and how their figures are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from engine.judging.scores import KNOWN_WORDS, MEAN, TEACHER

Unit = Literal["share", "bits", "nats", "value", "ratio"]


@dataclass(frozen=True)
class Measure:
    title: str
    help: str
    unit: Unit = "share"
    """ "share" (0 to 1), "bits" a byte of text, "nats" a token or a row, "value" in the data's own unit, or "ratio", a
    plain number."""
    lower_is_better: bool = False
    of: str = "byte"
    """Where the unit is "bits": what each of so many is needed for."""

    def written(self, value: float) -> str:
        """A figure with its unit, where the title doesn't hold that: "97.5 %", "0.912"."""
        return share(value) if self.unit == "share" else digits(value) if self.unit == "value" else loss(value)

    def change(self, value: float) -> str:
        """A difference with its sign, in `change_unit`."""
        if self.unit == "value":
            return f"{'−' if value < 0 else '+' if value > 0 else ''}{digits(abs(value))}"
        return points(value) if self.unit == "share" else signed(value)

    @property
    def change_unit(self) -> str:
        return {
            "share": "percentage points",
            "bits": f"bits a {self.of}",
            "nats": "nats",
            "value": "in the data's own unit",
            "ratio": "in all",
        }[self.unit]


MEASURES = {
    "exact_match": Measure("Exact match", "the share of answers that equal the expected one, letter by letter"),
    "word_f1": Measure("Word overlap (F1)", "how far answers share the words of the expected ones"),
    "accuracy": Measure("Accuracy", "the share of rows that got the right label"),
    "macro_f1": Measure("Macro F1", "the F1 score of each label, averaged over labels"),
    "label_overlap": Measure(
        "Label overlap (F1)",
        "how far the labels that a row gets are those that it has, averaged over rows; a row that has none and gets "
        "none counts as right",
    ),
    "micro_f1": Measure("Micro F1", "the F1 score of all labels of all rows together"),
    "exact_labels": Measure("Exact labels", "the share of rows that got all of their labels and no other one"),
    "entity_f1": Measure(
        "Entity F1",
        "the F1 score of all marked words (entities) together, of which those are right that have begin, end and label "
        "as expected, as in CoNLL-2003",
    ),
    "entity_precision": Measure("Entity precision", "of the marks that it set, the share that are right"),
    "entity_recall": Measure("Entity recall", "of the expected marks, the share that it set"),
    "entity_macro_f1": Measure("Entity macro F1", "the F1 score of the marks of each label, averaged over labels"),
    "mean_absolute_error": Measure(
        "Mean absolute error",
        "how far the numbers are from the expected ones on average, in the data's own unit; lower is better",
        "value",
        True,
    ),
    "root_mean_squared_error": Measure(
        "Root mean squared error",
        "the same, with large errors counting more (the root of the mean of their squares); lower is better",
        "value",
        True,
    ),
    "pearson": Measure(
        "Pearson correlation",
        "how far the numbers rise and fall with the expected ones: 1 is in step, 0 is chance",
        "ratio",
    ),
    "spearman": Measure(
        "Spearman correlation", "how far they have the order of the expected ones: 1 is the same order", "ratio"
    ),
    "bits_per_byte": Measure(
        "Bits per byte",
        "how many bits the model needs for each byte of text that it has not read, whatever its tokens; lower is "
        "better",
        "bits",
        True,
    ),
    "general_bits_per_byte": Measure(
        "Bits per byte of general text",
        "the same for passages of an encyclopedia that have nothing to do with the data; where it rises, the model "
        "forgot some of what it knew",
        "bits",
        True,
    ),
    "bits_per_hidden_byte": Measure(
        "Bits per hidden byte",
        "how many bits the model needs to guess each byte of the words that are hidden in text that it has not read "
        "(the same words each time) from what stands on both sides of them; not to be compared with bits per byte of "
        "models that write, nor with models of other tokens; lower is better",
        "bits",
        True,
        "hidden byte",
    ),
    "general_bits_per_hidden_byte": Measure(
        "Bits per hidden byte of general text",
        "the same for words hidden in passages of an encyclopedia that have nothing to do with the data; where it "
        "rises, the model forgot some of what it knew",
        "bits",
        True,
        "hidden byte",
    ),
    "calibration_error": Measure(
        "Calibration error",
        "how far the chance that it gives its answer is from how often it is right, on average over at most 15 "
        "groups of rows; on few rows chance alone makes some of it; lower is better",
        lower_is_better=True,
    ),
    "calibrated_error": Measure(
        "Calibration error with temperature",
        "the same for the chances that the result tells, whose scores are divided by a temperature; lower is better",
        lower_is_better=True,
    ),
    "calibrated_loss": Measure(
        "Held-out loss with temperature",
        "the held-out loss of these chances, in nats; lower is better",
        "nats",
        True,
    ),
    "loss": Measure(
        "Held-out loss",
        "how far the model is from giving the expected answers, in nats (of numbers in squared standard deviations of "
        "the training rows); lower is better",
        "nats",
        True,
    ),
}


def measure(name: str) -> Measure:
    """A measure by its name in the metrics; one that is unknown here is called by that name."""
    known, comma, part = name.partition(", ")
    if comma and known in MEASURES:
        whole = MEASURES[known]
        return Measure(f"{whole.title}, {part}", f"{whole.help}, of {part} alone", whole.unit, whole.lower_is_better)
    title = name.replace("_", " ")
    return MEASURES.get(name, Measure(title[:1].upper() + title[1:], "the main score of this objective"))


def baseline_title(name: str) -> str:
    """What one of the further scores before training is called."""
    further = {TEACHER: "Teacher", MEAN: "Always the training mean", KNOWN_WORDS: "Known words alone"}
    return further.get(name, f"Before, {name}")


def told(scores: Mapping[str, float], name: str) -> str:
    """One of the scores with its interval, where there is one: "97.5 % (94.2 to 100.0)"."""
    if name not in scores:
        return "–"
    if f"{name}_low" not in scores:
        return f"{scores[name]:.3f}"
    write = measure(name).written
    low, high = (write(scores[f"{name}_{end}"]).removesuffix(" %") for end in ("low", "high"))
    return f"{write(scores[name])} ({low} to {high})"


def share(value: float) -> str:
    """0.975 as "97.5 %"."""
    return f"{100 * value:.1f} %"


def points(value: float) -> str:
    """A difference of shares without its unit, percentage points: 0.0125 as "+1.3", -0.0125 as "−1.3"."""
    text = f"{abs(100 * value):.1f}"
    return f"{'−' if value < 0 and float(text) else '+' if float(text) else ''}{text}"


def loss(value: float) -> str:
    """A loss in nats; three digits behind the point, or two that are not 0 where it is tiny."""
    return f"{value:.2g}" if 0 < value < 0.01 else f"{value:.3f}"


def digits(value: float) -> str:
    """A number of any size with four digits that count: 1234.5 as "1,234", 0.012345 as "0.01235"."""
    if not math.isfinite(value):
        return str(value)
    size = math.floor(math.log10(abs(value))) if value else 0
    if size < -9 or size > 14:
        return f"{value:.3e}"
    text = f"{value:,.{max(0, 3 - size)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: float) -> str:
    """A difference of losses with its sign."""
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{loss(abs(value))}"
