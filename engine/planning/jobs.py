"""From a run folder to a Job: the spec, the model's facts, the tokens, the plan. Needs no torch."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from engine import machine, reporters
from engine.bases import models
from engine.bases.lineage import Parent
from engine.bases.parts import READ
from engine.data import example as examples_file
from engine.data import mixture
from engine.data.example import Example
from engine.errors import DataError, RunError, SettingError
from engine.methods.job import Job, Report
from engine.methods.objective import Objective, pair_refusal
from engine.planning import planner, speed, stacking, timing
from engine.planning.plan import Plan
from engine.specs.spec import RunSpec
from engine.texts.tokens import Encoded, Tokens

T = TypeVar("T")
SPLITS = ("train", "validation", "test")


def open_job(
    folder: Path, report: Callable[[str], None], to_train: bool = True, written: Report = lambda done, total: None
) -> Job:
    """All that a run needs before torch is loaded. Fetches the model if it isn't there; `report` says what takes time.

    Where another model writes what is learned, it does that here, and `written` is told how far it is. Without
    `to_train` (to chat, to score) no rows are turned into tokens and memory is not checked.
    Raises UserError for a spec, data or a model that can't be used, and for a plan that does not fit the machine.
    """
    spec = _spec(folder)
    if to_train:
        reporters.require(spec.output.reporters)
    every = examples_file.load(folder / "examples.jsonl")
    spec = replace(spec, objective_settings=spec.objective.of_rows(spec.objective_settings, every))
    facts = models.facts(spec.model)
    require_pair(spec, facts)
    spec = spec.on(facts)
    report(f"Getting {facts.id}.")
    model_folder = models.ensure(spec.model, report)
    tokens = Tokens.load(model_folder)
    spec = replace(
        spec,
        tuner_settings=spec.tuner.settled(spec.tuner_settings, model_folder),
        objective_settings=spec.objective.settled(spec.objective_settings, model_folder, every),
    )
    if to_train:
        gathered = spec.objective.gathered(spec.objective_settings, spec.model, facts, model_folder, report)
        spec = replace(spec, objective_settings=gathered)
    examples: dict[str, list[Example]] = {split: [e for e in every if e.split == split] for split in SPLITS}
    if not examples["train"]:
        raise DataError("No rows are left to learn from.", "Give more rows, or hold out fewer.")
    room = facts.context - spec.tuner.virtual_tokens(spec.tuner_settings) if facts.context else 0
    examples["train"] += spec.objective.mixed_in(spec.objective_settings, examples["train"], spec.training.seed)
    most = min(spec.training.max_tokens, room or spec.training.max_tokens)
    if spec.objective.divides(spec.objective_settings):
        examples = {split: divided(spec.objective, tokens, examples[split], most) for split in SPLITS}
    encoded: dict[str, list[Encoded]] = {}
    planned = replace(spec, launch=spec.launch.model_copy(update={"ignore_memory": True}))
    if to_train:
        report("Turning text into tokens.")
        encoded = {split: _encoded(spec, tokens, examples[split], room) for split in SPLITS}
        _require_learned(encoded["train"], spec.training.max_tokens)
        planned = _attempted(spec, folder)
    sources = [row.source for row in examples["train"]]
    here = machine.inspect()
    job = Job(
        folder=folder,
        objective=spec.objective,
        tuner=spec.tuner,
        model=spec.model,
        model_folder=model_folder,
        facts=facts,
        tokens=tokens,
        examples=examples,
        encoded=encoded,
        objective_settings=spec.objective_settings,
        tuner_settings=spec.tuner_settings,
        training=spec.training.model_copy(update={"max_tokens": min(spec.training.max_tokens, room or 10**9)}),
        evaluation=spec.evaluation,
        plan=_plan(planned, facts, encoded, here),
        sets=mixture.names(spec.data) if len(spec.data) > 1 else [],
        mixture=mixture.mixed(spec.mixture, sources, len(spec.data), spec.training.seed),
        labels=spec.objective.labels(spec.objective_settings, every),
        heads=spec.objective.heads(spec.objective_settings, every),
        start=parent.result if (parent := stacking.parent_of(spec)) else None,
    )
    if not to_train:
        return job
    rows = spec.objective.rewritten(job, report, written)
    if rows is not examples:
        encoded = {split: _encoded(spec, tokens, rows[split], room) for split in SPLITS}
        job = replace(job, examples=rows, encoded=encoded, plan=_plan(planned, facts, encoded, here))
    if rows is not examples or spec.objective.divides(spec.objective_settings):
        examples_file.save([row for split in SPLITS for row in rows[split]], folder / READ)
    return with_time(job, spec, here, speed.of(here, job.plan.compute, job.plan.threads, measure=False))


def _plan(spec: RunSpec, facts: models.ModelFacts, encoded: dict[str, list[Encoded]], here: machine.Machine) -> Plan:
    """The plan for rows as tokens; for one, where there are none."""
    lengths = [len(item.ids) for item in encoded.get("train", [])] or [1]
    learned = [sum(item.learned) for item in encoded.get("train", [])] or [1]
    return planner.make(spec, facts, lengths, here, learned)


def readable(spec: RunSpec, facts: models.ModelFacts) -> RunSpec:
    """The spec with parts that are no longer than what the model can read, where rows are read in parts."""
    if not spec.objective.divides(spec.objective_settings) or not facts.context:
        return spec
    return replace(spec, training=spec.training.model_copy(update={"max_tokens": spec.longest_row(facts)}))


def divided(objective: Objective, tokens: Tokens, rows: list[Example], most: int) -> list[Example]:
    """The rows of an objective that divides them, those of more than `most` tokens in parts. Nothing is lost."""
    return [part for row in rows for part in objective.parts(row, tokens, most)]


def with_time(job: Job, spec: RunSpec, here: machine.Machine, found: speed.Speed | None) -> Job:
    """The job with its plan's seconds by part, where this machine's speed is known."""
    _, scored = held_out(job)
    encoded = {id(e): c for split in SPLITS for e, c in zip(job.examples[split], job.encoded[split], strict=True)}
    more = job.objective.tokens_beside(job.objective_settings)
    virtual = spec.tuner.virtual_tokens(spec.tuner_settings)
    beside = job.objective.scored_beside(job.objective_settings)
    most = job.training.max_tokens
    read = [
        *(encoded[id(example)] for example in scored),
        *(job.objective.encode(row, job.tokens, job.objective_settings, most) for row in beside if scored),
    ]
    rows = timing.Rows(
        train=_counts(of_pass(job.mixture, job.encoded["train"]), virtual, more),
        validation=_counts(job.encoded["validation"], virtual, more),
        scored=_counts(read, virtual, more),
        baselines=job.objective.baseline_count(job.evaluation, job.examples["train"]),
        classes=len(job.labels),
    )
    return replace(job, plan=timing.timed(job.plan, spec, job.facts, rows, here, found))


def of_pass(mixed: mixture.Mixture | None, rows: list[T]) -> list[T]:
    """What the first pass reads."""
    return [rows[place] for place in mixed.order(0)] if mixed else rows


def _counts(encoded: list[Encoded], virtual: int, beside: int) -> timing.Counts:
    """virtual: tokens before each row; beside: those that are scored beside it."""
    lengths = [len(item.ids) + virtual + beside for item in encoded]
    return timing.Counts(lengths, [sum(item.learned) + beside for item in encoded])


def require_pair(spec: RunSpec, facts: models.ModelFacts, found: Parent | None = None) -> None:
    """Raises SettingError with the reason where objective, tuner and model don't go together.

    found: what the model is yet to be the result of, where it isn't there.
    """
    refusals = [
        pair_refusal(spec.objective, spec.tuner),
        spec.objective.refuses(facts, spec.objective_settings),
        spec.tuner.refuses(facts, spec.tuner_settings),
        stacking.refusal(spec, found),
        spec.objective.unfitted(spec.objective_settings, spec.tuner) if spec.tuner.kind == "fit" else None,
        _inseparable(spec),
        spec.tuner.unweighable(spec.tuner_settings) if spec.objective.weighs(spec.objective_settings) else None,
    ]
    problems = [refusal for refusal in refusals if refusal]
    if spec.model.load not in spec.tuner.loads:
        why = ", which can't learn themselves" if "trainable base" in spec.tuner.needs else ""
        problems.append(f"{spec.tuner.title} can't stand on {spec.model.load} weights{why}.")
    if problems:
        raise SettingError(problems, "Choose another objective, tuner or model.")


def _inseparable(spec: RunSpec) -> str | None:
    """Why its data sets can't have a head each, or None."""
    if spec.tuner.kind != "fit" or len(spec.data) < 2 or not spec.objective.separates(spec.objective_settings):
        return None
    return (
        f"{spec.tuner.title} fits one classifier to the rows of all data sets; heads of their own (objective.heads) "
        "need weights that learn."
    )


def held_out(job: Job) -> tuple[str, list[Example]]:
    """The rows that are scored: test rows, else validation rows; at most `evaluation.max_rows`, chosen by the seed."""
    rows = {split: list(filter(job.objective.answerable, job.examples[split])) for split in ("test", "validation")}
    split = "test" if rows["test"] else "validation"
    return split, chosen_rows(rows[split], job.evaluation.max_rows, job.training.seed)


def chosen_rows(rows: list[Example], most: int, seed: int) -> list[Example]:
    """At most so many of the held-out rows."""
    if len(rows) <= most:
        return rows
    return [rows[index] for index in sorted(random.Random(seed).sample(range(len(rows)), most))]


def truncation(job: Job) -> list[str]:
    """A sentence for the rows to learn from that are cut, and one for those that are scored."""
    sentences = []
    for split, use in (("train", "to learn from"), ("validation", "to watch progress"), ("test", "to score")):
        rows = job.encoded[split]
        cut = sum(item.truncated for item in rows)
        if cut:
            lost = sum(not any(item.learned) for item in rows)
            extra = f" In {lost} of them nothing that is learned is left." if lost else ""
            most = job.training.max_tokens
            sentences.append(
                f"{cut} of {len(rows)} rows {use} are longer than {most} tokens: cut {job.objective.cut}"
                f"{', the longer of both texts first' if job.pairs else ''}.{extra}"
            )
    return sentences


def _spec(folder: Path) -> RunSpec:
    if not (folder / "spec.yaml").exists():
        raise RunError(f"There is no run in {folder.name}: its spec.yaml is missing.", "Start it again from its data.")
    return RunSpec.load(folder / "spec.yaml")


def _attempted(spec: RunSpec, folder: Path) -> RunSpec:
    """The spec with the smaller micro-batch that an attempt after running out of memory uses."""
    try:
        attempt = json.loads((folder / "attempt.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return spec
    training = spec.training.model_copy(update={"micro_batch_size": int(attempt["micro_batch"])})
    return replace(spec, training=training)


def _encoded(spec: RunSpec, tokens: Tokens, rows: list[Example], room: int) -> list[Encoded]:
    """Rows as tokens. Held-out ones are cut to what the model can read; training rows beyond it the planner refuses."""
    longest = spec.training.max_tokens
    if rows and rows[0].split != "train" and room > 0:
        longest = min(longest, room)
    return [spec.objective.encode(row, tokens, spec.objective_settings, longest) for row in rows]


def _require_learned(encoded: list[Encoded], max_tokens: int) -> None:
    if not any(any(item.learned) for item in encoded):
        raise DataError(
            f"All {len(encoded)} rows are cut before the part that is learned begins: their questions alone are longer "
            f"than {max_tokens} tokens.",
            "Raise 'Longest row' (training.max_tokens).",
        )
