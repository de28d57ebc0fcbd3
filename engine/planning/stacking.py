"""Whether a run can go on from another run's result as its spec asks, and why not. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import tuners
from engine.bases import lineage
from engine.bases.lineage import Parent
from engine.errors import SettingError
from engine.methods.job import Job
from engine.settings import parse
from engine.specs.spec import RunSpec

HEAD_FILE = "head.safetensors"
SWITCH = "'Go on with what was added' (model.continued)"


def parent_of(spec: RunSpec) -> Parent | None:
    """The run that a spec goes on from, if any. Raises ModelError where it is gone."""
    return lineage.parent(spec.model.id) if lineage.is_run(spec.model.id) else None


def refusal(spec: RunSpec, found: Parent | None = None) -> str | None:
    """Why it can't go on so, or None where it can. Raises ModelError where the other run is gone.

    found: what it goes on from, where that is yet to be trained.
    """
    found = found or parent_of(spec)
    if spec.model.continued and spec.model.keep_layers:
        return f"{SWITCH} needs all layers that it was added to; 'Layers to keep' (model.keep_layers) leaves some out."
    if found is not None:
        return _continuing(spec, found) if spec.model.continued else on_top(found)
    if spec.model.continued:
        return f"{SWITCH} needs a run to go on from, such as run:ID (model.id)."
    return None


def on_top(found: Parent) -> str | None:
    """Why nothing new can learn on top of a run's result, or None."""
    before = tuners.get(found.tuner)
    if found.is_whole or not before.unmergeable:
        return None
    return (
        f"{_begun(found.called)} learned with {before.title}, which can't become part of its base: nothing else can "
        f"learn on top of it. {before.unmergeable}"
    )


def goes_on(found: Parent) -> str | None:
    """Why what a run added can't go on learning, or None."""
    before = tuners.get(found.tuner)
    if found.is_whole:
        return (
            f"{_begun(found.called)} changed the whole model and added nothing: with {SWITCH} off, training goes on "
            "from that model."
        )
    once = before.once
    try:
        once = before.once_with(parse(before.Settings, found.tuner_settings, "tuner"))
    except SettingError:
        pass  # `_continuing` says so
    return f"{before.title} can't go on with what an earlier run added. {once}" if once else None


def told(spec: RunSpec) -> list[str]:
    """What it means for the plan that a run goes on from another one, in a sentence."""
    if not lineage.is_run(spec.model.id):
        return []
    run_id = spec.model.id.strip().removeprefix(lineage.PREFIX)
    if spec.model.continued:
        return [f"What run {run_id} added goes on learning from where it is."]
    return [f"It starts from the model that run {run_id} left, which counts as its base."]


def merge_of(first: RunSpec, ids: Sequence[str], **settings: Any) -> RunSpec:
    """A run that merges the runs `ids`: on the data, the held-out rows and the base of the first, whose spec is given.

    settings: of the tuner "merge". Raises SettingError for those that don't fit.
    """
    values = first.as_dict()
    values["name"] = f"Merge of {len(ids)} runs"
    values["model"] = lineage.base(first.model).model_dump()
    values["tuner"] = {"name": "merge", "runs": " ".join(ids), **settings}
    return RunSpec.parse(values)


def begins_with_head(job: Job) -> bool:
    """Whether the run begins with the head of an earlier one: one that told the same labels in the same way."""
    kind = job.objective.kind(job.objective_settings)
    if job.start is None or not job.labels:
        return False
    return lineage.labels(job.start, kind) == job.labels and lineage.heads(job.start) == job.heads


def start_files(job: Job) -> dict[str, Path]:
    """What the standalone script of a run needs of other runs: name in its folder START → file."""
    found: dict[str, Path] = {}
    if job.start is not None and job.goes_on:
        found[job.tuner.added_file] = job.start / job.tuner.added_file
    if job.start is not None and begins_with_head(job):
        found[HEAD_FILE] = job.start / HEAD_FILE
    for place, run_id in enumerate(job.tuner.runs(job.tuner_settings)):
        result = lineage.parent(run_id).result
        for name in ("adapter_config.json", "adapter_model.safetensors", HEAD_FILE):
            if (result / name).exists():
                found[f"run{place}/{name}"] = result / name
    return found


def _continuing(spec: RunSpec, found: Parent) -> str | None:
    before = tuners.get(found.tuner)
    refused = goes_on(found)
    if refused:
        return refused
    if spec.objective.name != found.objective:
        return (
            f"{_begun(found.called)} has the objective {found.objective}; going on with what it added needs the same "
            "one."
        )
    if spec.tuner.name != found.tuner:
        return (
            f"{_begun(found.called)} learned with {before.title} (tuner: {found.tuner}); going on needs the same tuner."
        )
    try:
        theirs = parse(before.Settings, found.tuner_settings, "tuner").model_dump()
    except SettingError:
        return f"The settings of {found.called} are those of another Tunesmith; start from its base."
    mine = spec.tuner_settings.model_dump()
    other = [name for name in theirs if mine.get(name) != theirs[name] and name not in before.may_differ]
    if not other:
        return None
    told = ", ".join(f"tuner.{name} is {mine.get(name)!r} in place of {theirs[name]!r}" for name in other)
    return f"Going on with what {found.called} added needs its settings: {told}."


def _begun(called: str) -> str:
    """At the beginning of a sentence."""
    return called[0].upper() + called[1:]
