"""One run of a tuner of the kind "fit": score, compute features, fit a classifier to them, score again, save."""

from __future__ import annotations

import time

import numpy as np
import sklearn
import torch
from torch import nn

from engine.compute import estimators, features
from engine.compute.classifier import FittedHead
from engine.compute.estimators import TITLES, Choice
from engine.compute.model import apply_tuner, parameter_counts
from engine.compute.report import Reporter, Stopped, peak_memory
from engine.compute.result import folder_bytes, save_result
from engine.compute.train import announce, finished, scored, scores_before
from engine.data.example import Example
from engine.errors import DataError
from engine.events import Progress
from engine.judging.measures import share
from engine.methods import vectors
from engine.methods.job import Job


def run(job: Job, reporter: Reporter) -> bool:
    """Do the whole job, with the features that are there from before. True when it finished, False when stopped."""
    torch.set_num_threads(job.plan.threads)
    announce(job, reporter)
    _require_labels(job)
    began = time.monotonic()
    try:
        before = scores_before(job, reporter)
        reporter.phase("load", 0, 1)
        model = apply_tuner(job, job.objective.load(job)).eval()
        began = time.monotonic()
        watching = _watching(job, reporter)
        found = _features(job, model, watching, reporter, began)
        with reporter.stopping():
            choice = _chosen(job, found, watching, reporter, began)
        model = job.objective.set_head(model, _head(choice))
        seconds = time.monotonic() - began
        folder = save_result(job, model)
        after = scored(job, model, "after", reporter)
    except Stopped:
        reporter.notice("Stopped as you asked. The features computed so far are kept; resume goes on from there.")
        return False
    learned = model.head.numbers
    reporter.write(
        finished(
            job,
            before,
            after,
            {"cross_validation": _compared(choice)},
            trainable_parameters=learned,
            total_parameters=parameter_counts(job.objective.backbone(model))[1] + learned,
            seconds=round(seconds, 2),
            peak_memory_bytes=peak_memory(),
            artifact_bytes=folder_bytes(folder),
        )
    )
    return True


def _require_labels(job: Job) -> None:
    labels = {example.label for example in job.examples["train"]}
    if len(labels) < 2:
        raise DataError(
            f"All {len(job.examples['train'])} rows to learn from have the label {min(labels)!r}: there is nothing to "
            "tell apart.",
            "Give rows of another label, too.",
        )


def _watching(job: Job, reporter: Reporter) -> list[Example]:
    """Validation rows, which count in the choice of a classifier: unless they are what is scored in the end."""
    rows = job.examples["validation"]
    if not rows or job.examples["test"]:
        return rows
    reporter.notice(
        f"There are no test rows, so the {len(rows):,} validation rows are scored in the end. They take no part in the "
        "choice of a classifier, which would make their score look better than it is."
    )
    return []


def _features(job: Job, model: nn.Module, watching: list[Example], reporter: Reporter, began: float) -> np.ndarray:
    """Of the training rows, and behind them those that watch: (rows, width)."""
    how = job.tuner.reading(job.tuner_settings, job.model_folder)
    read = job.objective.features(model, how)
    device = next(job.objective.backbone(model).parameters()).device
    found = np.empty((0, 0), np.float32)
    told: features.Progress | None = None
    rows = [*job.encoded["train"], *(job.encoded["validation"] if watching else [])]
    for step in features.compute(job, read, rows, how, device):
        if isinstance(step, np.ndarray):
            found = step
        else:
            told = step
            reporter.phase("features", step.done, step.total, time.monotonic() - began)
    kept = vectors.Store(features.store_path(job, how))
    with kept:
        before = f"; {told.kept:,} of them were there from before" if told and told.kept else ""
        reporter.notice(
            f"{len(found):,} rows are {found.shape[1]:,} numbers each ({how.pooling} of layer {how.layer} from the top"
            f"{f', {how.layers} layers averaged' if how.layers > 1 else ''}){before}."
        )
        if kept.problem:
            reporter.notice(f"The features could not be kept for another run: {kept.problem}.", "warning")
        else:
            reporter.notice(
                f"They are kept in the cache's folder '{vectors.FOLDER}' ({kept.bytes / 1e6:,.1f} MB) until the last "
                "run that used them is deleted, nobody used them for a week, or all kept features take more than "
                f"{vectors.MOST_BYTES / 1e9:g} GB."
            )
    return found


def _chosen(job: Job, found: np.ndarray, watching: list[Example], reporter: Reporter, began: float) -> Choice:
    settings, labels = job.tuner_settings, job.labels
    count = len(job.examples["train"])
    numbers = np.array([labels.index(example.label) for example in [*job.examples["train"], *watching]])
    classes, aside = numbers[:count], (found[count:], numbers[count:]) if watching else None
    found = found[:count]
    weights = job.objective.class_weights(job.objective_settings, labels, job.examples["train"])
    names = estimators.tried(settings.classifier, len(found), found.shape[1], len(labels), weights is not None)
    folds = estimators.folds_for(classes, settings.folds)
    if folds < settings.folds:
        least = int(np.unique(classes, return_counts=True)[1].min())
        reporter.notice(
            f"{folds} folds in place of {settings.folds}: the rarest label has {least} "
            f"row{'' if least == 1 else 's'} to learn from."
        )
    total, done = len(names) * (folds + bool(watching)) + 1, 0

    def report() -> None:
        nonlocal done
        took = round(time.monotonic() - began, 2)
        reporter.step(Progress(done, total, memory_bytes=peak_memory(), seconds=took))
        done += 1

    counts = None if weights is None else np.array(weights)
    choice = estimators.choose(
        found, classes, len(labels), names, settings.folds, job.training.seed, report, aside, counts
    )
    reporter.step(Progress(total, total, memory_bytes=peak_memory(), seconds=round(time.monotonic() - began, 2)))
    for sentence in sentences(choice, len(found), weights is not None):
        reporter.notice(sentence)
    return choice


def sentences(choice: Choice, rows: int, weighed: bool = False) -> list[str]:
    """What was found on rows that a classifier had not learned from, and what was chosen by it."""
    why = dict.fromkeys(
        choice.left_out,
        "would take far longer than the others with this many rows and labels. Name them (tuner.classifier: {}) to use "
        "them all the same",
    )
    if weighed:
        why |= dict.fromkeys(estimators.UNWEIGHED, "can't let labels count by class weights")
    some = f"{choice.compared:,} of {rows:,} rows" if choice.compared < rows else f"the {rows:,} rows"
    on = f"{choice.folds}-fold cross-validation on {some} to learn from"
    if choice.watched:
        on += f" and on the {choice.watched:,} validation rows"
    title = TITLES[choice.name]
    told = [f"{title[0].upper()}{title[1:]}: {share(choice.accuracy[choice.name])} right in {on}."]
    if len(choice.accuracy) > 1:
        others = ", ".join(
            f"{TITLES[name]} {share(value)}" for name, value in choice.accuracy.items() if name != choice.name
        )
        told = [
            f"{title[0].upper()}{title[1:]} is chosen: {share(choice.accuracy[choice.name])} right in {on}; {others}."
        ]
    if weighed:
        told.append("A row counts there as much as its label does (class weights).")
    return [*told, *(f"Not tried: {TITLES[name]}, which {why[name].format(name)}." for name in choice.left_out)]


def _head(choice: Choice) -> FittedHead:
    about = {"cross_validation": _compared(choice), "scikit-learn": sklearn.__version__}
    return FittedHead(choice.name, choice.form, choice.head, about)


def _compared(choice: Choice) -> dict[str, object]:
    """How the choice was made, for the records."""
    return {
        "chosen": choice.name,
        "folds": choice.folds,
        "rows": choice.compared,
        "validation_rows": choice.watched,
        "accuracy": choice.accuracy,
    }
