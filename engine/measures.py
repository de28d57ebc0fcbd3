"""The scores by which results are judged: what they are called, what they mean, and how their figures are written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    title: str
    help: str


MEASURES = {
    "exact_match": Measure("Exact match", "the share of answers that equal the expected one, letter by letter"),
    "word_f1": Measure("Word overlap (F1)", "how far answers share the words of the expected ones"),
    "accuracy": Measure("Accuracy", "the share of rows that got the right label"),
    "macro_f1": Measure("Macro F1", "the F1 score of each label, averaged over labels"),
    "loss": Measure("Held-out loss", "how far the model is from giving the expected answers, in nats; lower is better"),
}


def measure(name: str) -> Measure:
    """A measure by its name in the metrics; one that is unknown here is called by that name."""
    title = name.replace("_", " ")
    return MEASURES.get(name, Measure(title[:1].upper() + title[1:], "the main score of this objective"))


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
