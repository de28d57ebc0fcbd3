"""Did it learn, by how much, or is it noise? Told in sentences, each made from the figures of the run's own folder.

A gain or a loss is claimed only where the paired interval of the difference (`engine.judging.pairing`) leaves 0 out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from engine.data.rows import counted
from engine.events import NOT_A_NUMBER
from engine.judging import evidence, gap, pairing, trend
from engine.judging.evidence import Evidence, Point
from engine.judging.measures import Measure, loss, measure, points, signed
from engine.judging.pairing import Difference
from engine.judging.rowchanges import RowChanges, row_changes
from engine.judging.scores import KNOWN_WORDS, MEAN, TEACHER, ScoredRow

Kind = Literal[
    "better", "worse", "noise", "uncompared", "unscored", "overfitted", "underfitted", "diverged", "stopped", "failed"
]
Trends = dict[str, trend.Move | trend.Turn]
"""What shows that a run overfitted, underfitted or diverged, by kind."""
GENERAL = "general_"
"""Before a measure's name: the same of general text."""
SIMPLE = {
    MEAN: "To say the mean of the training rows each time",
    KNOWN_WORDS: "To mark only words that were marked in the training rows, as they mostly were there,",
}
"""What needs no model, by the name of its scores."""
JUDGED = ("finished", "stopped", "failed")
"""States of a run that something can be said about."""


@dataclass(frozen=True)
class Verdict:
    kinds: list[Kind]
    """All that hold, the headline's first."""
    headline: str
    sentences: list[str]
    measure: str = ""
    """Name of the metric by which it was judged; empty where nothing was compared."""
    difference: Difference | None = None
    """In that metric; of losses, below 0 is better."""
    rows: RowChanges | None = None
    trends: Trends = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a page or a program."""
        record = asdict(self)
        del record["trends"]
        return record


def judge(found: Evidence) -> Verdict:
    """What the evidence of a run that has ended, or stands still, says."""
    trends = _trends(found)
    if found.state != "finished":
        return _unfinished(found, trends)
    told = _compared(found, trends) if found.before and found.after else _uncompared(found, trends)
    return replace(told, sentences=[*told.sentences, *gap.own_told(found.metrics)])


def _trends(found: Evidence) -> Trends:
    """Each kind of trend that holds. One that diverged did neither learn by heart nor too little."""
    diverged = trend.diverging(found.train)
    if diverged is not None:
        return {"diverged": diverged}
    shown = {
        "overfitted": trend.overfitting(found.held),
        "underfitted": trend.still_falling(found.train, found.held),
    }
    return {name: value for name, value in shown.items() if value is not None}


# Finished and scored before and after


def _compared(found: Evidence, trends: Trends) -> Verdict:
    pairs = evidence.paired(found.before, found.after)
    scored = pairing.of_rows([a for a, _ in pairs], [b for _, b in pairs])
    both = [(a.loss, b.loss) for a, b in pairs if a.loss is not None and b.loss is not None]
    lost = pairing.difference([a for a, _ in both], [b for _, b in both])
    losses = _losses(found)
    scale = measure(found.main)
    # Free text never matches letter by letter: where no answer did, before or after, the loss alone can tell.
    if both and losses and not any(row.score for pair in pairs for row in pair):
        name, change, kind = "loss", lost, _kind(lost, losses, lower_is_better=True)
        headline = _loss_headline(losses, kind)
        nothing = (
            "No answer equals the expected one in every letter" if pairs[0][1].marks is None else "No mark is right"
        )
        beside = [f"{nothing}, before or after, so the loss is what tells."]
    else:
        name, change = found.main, scored
        kind = _kind(scored, _scores(found), scale.lower_is_better)
        headline = _score_headline(found, kind)
        # Bits per byte are that loss, written so that it does not hang on the tokens.
        beside = [] if scale.unit == "bits" else [*_loss_beside(found, lost)]
        beside += [*_forgotten(found), *_simple_told(found), *_baselines_told(found), *_parts_told(found)]
    beside += gap.told(found, name) if TEACHER in found.baselines else []
    sentences = [_measured_on(found, change, None if name == "loss" else scale), *beside]
    kinds: list[Kind] = [kind, *_kinds(trends)]
    if "diverged" in trends:
        kinds = ["diverged", kind]
        sentences.insert(0, f"{headline}.")
        headline = _diverged_headline(trends["diverged"])
    sentences += _course_told(found, trends)
    return Verdict(
        kinds,
        headline,
        sentences,
        name,
        change,
        row_changes(pairs, name == "loss" or scale.lower_is_better, 0.0 if scale.unit == "value" else 1.0),
        trends,
    )


def _kind(change: Difference, values: tuple[float, float], lower_is_better: bool = False) -> Kind:
    """values: the figures that are told, before and after. They have to go the way that the rows go."""
    before, after = values
    if not change.certain or (after > before) != (change.low > 0) or after == before:
        return "noise"
    return "better" if (after > before) != lower_is_better else "worse"


def _score_headline(found: Evidence, kind: Kind) -> str:
    scale, scores = measure(found.main), _scores(found)
    before, after = map(scale.written, scores)
    if kind == "noise":
        return f"No measurable change: {_lower(scale.title)} {_was(scale)} {before} before and {after} after"
    return f"{scale.title} {'rose' if scores[1] > scores[0] else 'fell'} from {before} to {after}"


def _was(scale: Measure) -> str:
    return "were" if scale.unit == "bits" else "was"


def _loss_headline(losses: tuple[float, float], kind: Kind) -> str:
    before, after = map(loss, losses)
    if kind == "noise":
        return f"No measurable change: held-out loss was {before} before and {after} after"
    return f"Held-out loss {'fell' if kind == 'better' else 'rose'} from {before} to {after}"


def _measured_on(found: Evidence, change: Difference, scale: Measure | None) -> str:
    """scale: None where the loss tells."""
    rows = f"Of {counted(change.rows, 'held-out row', 'held-out rows')}, which it did not learn from,"
    if not change.up and not change.down:
        return f"{rows} none is answered better or worse than before."
    lower = scale is None or scale.lower_is_better
    better, worse = (change.down, change.up) if lower else (change.up, change.down)
    write, unit = (scale.change, scale.change_unit) if scale else (signed, f"{found.loss_unit} on average")
    between = f"95 % interval {write(change.low)} to {write(change.high)}, paired row by row"
    doubt = "" if change.certain else ", which may be chance"
    return (
        f"{rows} {_number(better)} got better and {_number(worse)} got worse: "
        f"a change of {write(change.mean)} {unit} ({between}){doubt}."
    )


def _loss_beside(found: Evidence, change: Difference) -> Iterator[str]:
    """The held-out loss beside the score."""
    losses = _losses(found)
    if losses is None or not change.rows:
        return
    before, after = map(loss, losses)
    if _kind(change, losses) == "noise":
        yield f"Held-out loss shows no measurable change: {before} {found.loss_unit} before, {after} after."
    else:
        yield f"Held-out loss {'fell' if change.high < 0 else 'rose'} from {before} to {after} {found.loss_unit}."


def _forgotten(found: Evidence) -> Iterator[str]:
    """What became of general text, where that was scored, too."""
    name = GENERAL + found.main
    before, after = ((found.metrics.get(when) or {}).get(name) for when in ("before", "after"))
    if before is None or after is None:
        return
    scale = measure(name)
    told = f"{scale.title} went from {scale.written(before)} to {scale.written(after)}"
    if after > before:
        yield f"{told} ({scale.change(after - before)}): that much it forgot of what it knew."
    else:
        yield f"{told}: it forgot nothing that this could show."


def _simple_told(found: Evidence) -> Iterator[str]:
    """What the result comes to beside something simple that needs no model."""
    guessed = {name: rows for name, rows in found.baselines.items() if name in SIMPLE}
    for name, (score, change, between) in _changes_from(found, guessed, "baselines"):
        scale = measure(found.main)
        lower = f"the result differs from that by {scale.change(change.mean)} {scale.change_unit} ({between})"
        doubt = "" if change.certain else ", which may be chance"
        yield (f"{SIMPLE[name]} comes to {score} ({_lower(scale.title)}); {lower}{doubt}.")


def _baselines_told(found: Evidence) -> Iterator[str]:
    """What prompting alone comes to, beside what training does."""
    prompted = {name: rows for name, rows in found.baselines.items() if name not in (TEACHER, *SIMPLE)}
    for name, (score, change, between) in _changes_from(found, prompted, "baselines"):
        told = f"the untrained model with {name} scores {score}"
        if not change.certain:
            yield (
                f"Prompting alone does as well as training, as far as these rows tell: {told}, and the difference of "
                f"{points(change.mean)} percentage points ({between}) may be chance."
            )
        elif change.low > 0:
            yield f"Prompting alone does less: {told}; training gives {points(change.mean)} points ({between})."
        else:
            yield f"Prompting alone does better: {told}; training gives {points(change.mean)} points ({between})."


def _parts_told(found: Evidence) -> Iterator[str]:
    """What a merge comes to beside each of the runs that it is made of."""
    for run_id, (score, change, between) in _changes_from(found, found.parts, "parts"):
        scale = measure(found.main)
        unit = "points" if scale.unit == "share" else scale.change_unit
        gain = f"the merge gives {scale.change(change.mean)} {unit} ({between})"
        yield f"Run {run_id} alone scores {score}; {gain}{'' if change.certain else ', which may be chance'}."


def _changes_from(
    found: Evidence, scored: Mapping[str, Sequence[ScoredRow]], kind: str
) -> Iterator[tuple[str, tuple[str, Difference, str]]]:
    """By name: a score of something else on the same rows, and from there to the result, with its interval in words.

    kind: the name in the metrics under which the scores stand.
    """
    for name, rows in scored.items():
        pairs = evidence.paired(rows, found.after)
        score = (found.metrics.get(kind) or {}).get(name, {}).get(found.main)
        if pairs and score is not None:
            change = pairing.of_rows([a for a, _ in pairs], [b for _, b in pairs])
            write = measure(found.main).change
            between = f"95 % interval {write(change.low)} to {write(change.high)}"
            yield name, (measure(found.main).written(score), change, between)


# Finished, with nothing to compare


def _uncompared(found: Evidence, trends: Trends) -> Verdict:
    if found.after:
        scores = found.metrics.get("after") or {}
        low, high = (scores.get(f"{found.main}_{end}") for end in ("low", "high"))
        between = (
            f" (95 % interval {_bare(found, low)} to {_bare(found, high)})"
            if low is not None and high is not None
            else ""
        )
        scale = measure(found.main)
        headline = f"{scale.title} {_is(scale)} {scale.written(_score(found, 'after'))} after training"
        sentences = [
            f"That is on {counted(len(found.after), 'held-out row', 'held-out rows')}{between}.",
            "The model before training was not scored, so how much of it was learned is not known.",
            *_parts_told(found),
        ]
        kinds: list[Kind] = ["uncompared", *_kinds(trends)]
    else:
        headline = f"{_trained(found)}; no rows were held out to score"
        sentences = ["How it does on rows that it did not learn from is not known."]
        kinds = ["unscored", *_kinds(trends)]
    if "diverged" in trends:
        kinds = ["diverged", kinds[0]]
        sentences.insert(0, f"{headline}.")
        headline = _diverged_headline(trends["diverged"])
    return Verdict(kinds, headline, [*sentences, *_course_told(found, trends)], trends=trends)


# Stopped or failed


def _unfinished(found: Evidence, trends: Trends) -> Verdict:
    diverged = found.failed is not None and found.failed.problem.startswith(NOT_A_NUMBER)
    word: Kind = "failed" if found.state == "failed" else "stopped"
    headline = f"{word.capitalize()} before the first step of training"
    if found.last_step:
        headline = f"{word.capitalize()} at step {found.last_step:,} of {found.total_steps:,}"
    # What stopped on the way was still falling, of course.
    trends = {name: shown for name, shown in trends.items() if name != "underfitted"}
    kinds: list[Kind] = [word, *_kinds(trends)]
    if diverged or "diverged" in trends:
        kinds = ["diverged", word]
        headline = f"It diverged, and {_lower(headline)}"
    sentences = []
    if found.before:
        sentences.append(
            f"Before training {_lower(measure(found.main).title)} {_was(measure(found.main))} "
            f"{measure(found.main).written(_score(found, 'before'))} on "
            f"{counted(len(found.before), 'held-out row', 'held-out rows')}; after training nothing was scored yet."
        )
    moved = trends.get("diverged", trend.overall(found.train))
    if isinstance(moved, trend.Move):
        sentences.append(f"{_moved('Training loss', moved)}.")
    return Verdict(kinds, headline, [*sentences, *_course_told(found, trends)], trends=trends)


# Parts of all


def _kinds(trends: Trends) -> list[Kind]:
    names: tuple[Kind, ...] = ("diverged", "overfitted", "underfitted")
    return [name for name in names if name in trends]


def _course_told(found: Evidence, trends: Trends) -> Iterator[str]:
    """What the losses say, and how the run came to its end."""
    best = found.best
    for shown in trends.values():
        if isinstance(shown, trend.Turn):
            yield (
                f"Held-out loss was lowest at step {shown.best.step:,} ({loss(shown.best.loss)}) and rose to "
                f"{loss(shown.last.loss)} by step {shown.last.step:,}: from there on it learned its rows by heart."
            )
            if found.state == "finished":
                yield f"The result is that of step {shown.best.step:,}."
    if "underfitted" in trends and isinstance(shown := trends["underfitted"], trend.Move):
        yield (
            f"Training loss was still falling at the end: {loss(shown.last)} over the last "
            f"{counted(shown.points, 'step', 'steps')} told, {loss(shown.first)} over as many before."
        )
    if len(found.held) > 1 and best is not None and "overfitted" not in trends:
        way = f"{_check(found.held[0])} to {_check(found.held[-1])}"
        lowest = "" if loss(best.loss) == loss(found.held[-1].loss) else f"; its lowest was {_check(best)}"
        yield f"On the rows that watched the training, loss went from {way}{lowest}."
    if found.state == "finished" and 0 < found.last_step < found.total_steps:
        yield f"It ended early, at step {found.last_step:,} of {found.total_steps:,}."
    if found.metrics.get("split") == "validation" and found.held:
        yield "The scored rows are also those by which the best step was chosen, which flatters the score a little."


def _check(point: Point) -> str:
    return f"{loss(point.loss)} at step {point.step:,}"


def _trained(found: Evidence) -> str:
    moved = trend.overall(found.train)
    return _moved("Training loss", moved, short=True) if moved else "Trained"


def _moved(title: str, moved: trend.Move, short: bool = False) -> str:
    word = "fell" if moved.last < moved.first else "rose" if moved.last > moved.first else "stayed"
    told = f"{title} {word} from {loss(moved.first)} to {loss(moved.last)}"
    return told if short or moved.points == 1 else f"{told} (means of {moved.points:,} steps)"


def _diverged_headline(shown: trend.Move | trend.Turn) -> str:
    return f"It diverged: {_lower(_moved('Training loss', shown, short=True))}" if isinstance(shown, trend.Move) else ""


def _scores(found: Evidence) -> tuple[float, float]:
    """The main score before and after."""
    return _score(found, "before"), _score(found, "after")


def _score(found: Evidence, when: Literal["before", "after"]) -> float:
    """The main score as the run told it, else the mean of its rows."""
    told = (found.metrics.get(when) or {}).get(found.main)
    rows = found.before if when == "before" else found.after
    return float(told) if told is not None else sum(row.score for row in rows) / max(1, len(rows))


def _losses(found: Evidence) -> tuple[float, float] | None:
    """Held-out loss before and after, where both were measured."""
    before, after = (found.metrics.get(when) or {} for when in ("before", "after"))
    if before.get("loss") is None or after.get("loss") is None:
        return None
    return float(before["loss"]), float(after["loss"])


def _is(scale: Measure) -> str:
    return "are" if scale.unit == "bits" else "is"


def _bare(found: Evidence, value: float) -> str:
    """A figure without its unit."""
    return measure(found.main).written(value).removesuffix(" %")


def _number(count: int) -> str:
    return f"{count:,}" if count else "none"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
