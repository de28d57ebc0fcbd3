"""What a run would do, before it does it: rows, steps, time, memory, cautions, and the reason for each choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import machine, reporters
from engine.bases import models
from engine.bases.architecture import in_backbone
from engine.bases.models import ModelFacts
from engine.data import mixture
from engine.data.example import Example
from engine.data.mixture import Part
from engine.data.prepare import Prepared
from engine.planning import cautions, planner, speed, timing
from engine.planning.jobs import chosen_rows, of_pass, readable, require_pair
from engine.planning.plan import Plan
from engine.specs.spec import RunSpec, of_spec
from engine.texts import preview
from engine.texts.preview import Lengths

CHEAP_WITHIN = 1.25
"""A prediction that is good to this factor is told as one number, another one as two."""


@dataclass(frozen=True)
class Explanation:
    model: str
    rows: dict[str, int]
    """By split."""
    epochs: float
    lengths: Lengths
    """In tokens, of the rows that are learned from."""
    plan: Plan
    trainable_parameters: int
    total_parameters: int
    """As the result will count them: the base, what is added to it, and a head."""
    cautions: list[str] = field(default_factory=list)
    mix: list[Part] = field(default_factory=list)
    """What a pass is made of, where there are several data sets."""
    measuring: bool = False
    """Whether the time is still to come: this machine is being measured."""
    fitted: str = ""
    """What learns, in a sentence, where that is no weight of the model: each row is then read once, in no steps."""

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        plan = self.plan
        steps = [counted(self.epochs, "pass", "passes"), counted(plan.total_steps, "step")]
        parts = [
            counted(self.rows["train"], "row"),
            *(["each read once"] if self.fitted else steps),
            *([about(plan)] if plan.seconds else []),
            f"{plan.memory_bytes / 1e9:.1f} of {plan.memory_available / 1e9:.1f} GB of memory",
        ]
        return ", ".join(parts) + "."

    @property
    def learning(self) -> str:
        """How much of the model learns."""
        if self.fitted:
            return self.fitted
        share = 100 * self.trainable_parameters / max(1, self.total_parameters)
        if self.trainable_parameters == self.total_parameters:
            return f"All {self.total_parameters:,} weights learn."
        return f"{self.trainable_parameters:,} of {self.total_parameters:,} weights learn ({share:.2g} %)."

    def lines(self) -> list[str]:
        found = [f"{self.model}: {self.sentence}", self.learning, *self.cautions]
        found += [
            f"{part.title}: {part.taken:,} of {counted(part.rows, 'row')} a pass, {part.tokens:,} tokens"
            for part in self.mix
        ]
        found += [reason for reason in self.plan.reasons if reason not in self.cautions]
        found += [f"{part.name}: {part.bytes / 1e6:,.0f} MB" for part in self.plan.memory]
        found += [f"{part.name}: about {span(part.seconds)}" for part in self.plan.seconds]
        return found

    def as_dict(self) -> dict[str, Any]:
        lengths = {
            "truncated": self.lengths.truncated,
            "unlearned": self.lengths.unlearned,
            "longest": self.lengths.longest,
            "total": self.lengths.total,
        }
        return {
            "model": self.model,
            "rows": self.rows,
            "sentence": self.sentence,
            "tokens": lengths,
            "trainable_parameters": self.trainable_parameters,
            "total_parameters": self.total_parameters,
            "memory_bytes": self.plan.memory_bytes,
            "estimate_seconds": self.plan.estimate_seconds,
            "cautions": self.cautions,
            "mix": [asdict(part) for part in self.mix],
            "plan": self.plan.as_dict(),
        }


def explain(spec: RunSpec, prepared: Prepared | None = None) -> Explanation:
    """Look at data, model and machine without starting anything. Raises what starting would raise."""
    *_, whole = explained(spec, prepared)
    return whole


def explained(spec: RunSpec, prepared: Prepared | None = None) -> Iterator[Explanation]:
    """As `explain`; before a machine that is new is measured, all that is known without its speed."""
    prepared = prepared or of_spec(spec)
    spec = spec.settled(prepared)
    reporters.require(spec.output.reporters)
    facts = models.facts(spec.model)
    require_pair(spec, facts)
    spec = spec.on(facts)
    folder = models.ensure(spec.model, lambda text: None)
    examples = spec.objective.chosen(prepared.examples, spec.objective_settings, spec.training.seed)
    spec = replace(
        spec,
        tuner_settings=spec.tuner.settled(spec.tuner_settings, folder),
        objective_settings=spec.objective.settled(spec.objective_settings, folder, examples),
    )
    found = spec.objective.gathered(spec.objective_settings, spec.model, facts, folder, lambda text: None)
    spec = replace(spec, objective_settings=found)
    spec = readable(spec, facts)
    rows = {split: [e for e in examples if e.split == split] for split in ("train", "validation", "test")}
    mixed = spec.objective.mixed_in(spec.objective_settings, rows["train"], spec.training.seed)
    rows["train"] += mixed
    here = machine.inspect()
    counts = {split: preview.lengths(folder, spec, found) for split, found in rows.items()}
    train = counts["train"]
    plan = planner.make(spec, facts, train.lengths, here, train.learned)
    plan = replace(plan, reasons=[*_read_otherwise(spec, rows["train"], mixed, train), *plan.reasons])
    trainable, total = parameter_counts(spec, facts, examples)
    of_sets = _of_sets(spec, folder, rows["train"], train) if len(spec.data) > 1 else []
    mix = _mix(spec, of_sets)

    def told(plan: Plan, measuring: bool = False) -> Explanation:
        return Explanation(
            model=facts.id,
            rows={split: len(counts[split].lengths) for split in rows},
            epochs=spec.training.epochs,
            lengths=train,
            plan=plan,
            trainable_parameters=trainable,
            total_parameters=total,
            cautions=[
                *cautions.found(spec, examples, train, plan, here, trainable),
                *mixture.unread(mix, spec.training.epochs),
            ],
            mix=mix,
            measuring=measuring,
            fitted=spec.tuner.learning(facts),
        )

    clock = speed.of(here, plan.compute, plan.threads, measure=False)
    if clock is None:
        yield told(plan, measuring=True)
        clock = speed.of(here, plan.compute, plan.threads)
    timed_rows = _timed_rows(spec, rows, {**counts, "train": _read(spec, of_sets, train)})
    yield told(timing.timed(plan, spec, facts, timed_rows, here, clock))


def parameter_counts(spec: RunSpec, facts: ModelFacts, examples: Sequence[Example]) -> tuple[int, int]:
    """Weights that will learn, and all of them, as `engine.compute.model.parameter_counts` finds them in the model."""
    # Rows with numbers have no labels; their head gives one score.
    classes = max(len(spec.objective.labels(spec.objective_settings, examples)), min(1, len(examples)))
    # A head that is fitted in place of the objective's own is known when it is chosen.
    head = spec.objective.head_parameters(facts, classes) if spec.tuner.kind == "gradient" else 0
    head += spec.objective.learning_beside(facts, spec.objective_settings)
    whole = spec.objective.whole(facts)
    body = facts.parameters if whole else facts.backbone_parameters + spec.objective.beside_parameters(facts)
    places = spec.tuner.learns(facts, spec.tuner_settings)
    tuned = sum(count for name, count in places.items() if whole or in_backbone(name))
    if spec.tuner.adds:
        frozen = spec.tuner.frozen_parameters(facts, spec.tuner_settings)
        return tuned + head, body + tuned + frozen + head
    return tuned + head, body + head


def _of_sets(spec: RunSpec, folder: Path, rows: list[Example], train: Lengths) -> list[tuple[int, int, int]]:
    """Data set, tokens and learned tokens of each row to learn from, or part of one."""
    if not spec.objective.divides(spec.objective_settings):
        return list(zip([row.source for row in rows], train.lengths, train.learned, strict=True))
    found: list[tuple[int, int, int]] = []
    for source in sorted({row.source for row in rows}):
        own = preview.lengths(folder, spec, [row for row in rows if row.source == source])
        found += zip([source] * len(own.lengths), own.lengths, own.learned, strict=True)
    return found


def _mix(spec: RunSpec, of_sets: list[tuple[int, int, int]]) -> list[Part]:
    numbers = range(len(spec.data)) if of_sets else ()
    tokens = [[length for source, length, _ in of_sets if source == number] for number in numbers]
    if not tokens:
        return []
    return mixture.parts(spec.mixture, mixture.names(spec.data), list(map(len, tokens)), list(map(sum, tokens)))


def _read(spec: RunSpec, of_sets: list[tuple[int, int, int]], train: Lengths) -> Lengths:
    """What the first pass reads."""
    mixed = mixture.mixed(spec.mixture, [one[0] for one in of_sets], len(spec.data), spec.training.seed)
    if not of_sets or mixed is None:
        return train
    read = of_pass(mixed, of_sets)
    return replace(train, lengths=[one[1] for one in read], learned=[one[2] for one in read])


def _timed_rows(spec: RunSpec, rows: dict[str, list[Example]], counts: dict[str, Lengths]) -> timing.Rows:
    held_out = {split: list(filter(spec.objective.answerable, rows[split])) for split in ("test", "validation")}
    split = "test" if held_out["test"] else "validation"
    held = counts[split]
    if spec.objective.divides(spec.objective_settings):
        chosen = list(range(min(len(held.lengths), spec.evaluation.max_rows)))
    else:
        scored = chosen_rows(held_out[split], spec.evaluation.max_rows, spec.training.seed)
        places = {id(example): place for place, example in enumerate(rows[split])}
        chosen = [places[id(example)] for example in scored]
    beside = spec.objective.scored_beside(spec.objective_settings) if chosen else []
    more = preview.lengths(models.ensure(spec.model, lambda text: None), spec, beside)
    return timing.Rows(
        train=timing.Counts(counts["train"].lengths, counts["train"].learned),
        validation=timing.Counts(counts["validation"].lengths, counts["validation"].learned),
        scored=timing.Counts(
            [*(held.lengths[place] for place in chosen), *more.lengths],
            [*(held.learned[place] for place in chosen), *more.learned],
        ),
        baselines=spec.objective.baseline_count(spec.evaluation, rows["train"]),
        classes=len(spec.objective.labels(spec.objective_settings, [row for found in rows.values() for row in found])),
    )


def _read_otherwise(spec: RunSpec, rows: list[Example], mixed: list[Example], train: Lengths) -> list[str]:
    """How the rows that are read differ from those of the data."""
    told = []
    if len(train.lengths) > len(rows):
        parts, most = counted(len(train.lengths), "part"), spec.training.max_tokens
        verb = "is" if len(rows) == 1 else "are"
        told.append(
            f"{counted(len(rows), 'text')} to learn from {verb} read in {parts} of at most {most:,} tokens; nothing is "
            "left out."
        )
    if mixed:
        share = sum(len(row.text) for row in mixed) / max(1, sum(len(row.text) for row in rows))
        told.append(
            f"{counted(len(mixed), 'passage')} of general text are mixed in: {100 * share:.0f} % of what is read."
        )
    return told


# In words


def about(plan: Plan) -> str:
    """How long the whole run takes: "about 4 minutes", or from what to what where that is not known well."""
    seconds = plan.estimate_seconds or 0.0
    if plan.seconds_within <= CHEAP_WITHIN:
        return f"about {span(seconds)}"
    least, most = span(seconds / plan.seconds_within), span(seconds * plan.seconds_within)
    number, unit = least.split(" ", 1)
    same = most.split(" ", 1)[1].rstrip("s") == unit.rstrip("s")
    return f"about {number if same else least} to {most}"


def span(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 55:
        return counted(max(5, 5 * round(seconds / 5)), "second")
    if seconds < 90 * 60:
        return counted(round(seconds / 60), "minute")
    hours = seconds / 3600
    return counted(round(hours, 1) if hours < 10 else round(hours), "hour")


def counted(number: float, word: str, many: str = "") -> str:
    text = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{text} {word if number == 1 else many or word + 's'}"
