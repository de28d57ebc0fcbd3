"""One run from its first score to its last: score, train, keep the best, score again, save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import set_seed

from engine.compute import allocator, reporters, rows_apart, shares, short_rows
from engine.compute.fast import body
from engine.compute.loop import WEIGHTS_FILE, Loop, load_trainable
from engine.compute.model import apply_tuner, base_model, parameter_counts, untrained
from engine.compute.precision import dtype
from engine.compute.report import Reporter, Stopped, peak_memory
from engine.compute.result import folder_bytes, kept_scores, load_scores, save_result, save_scores
from engine.compute.shares import Share
from engine.events import Finished
from engine.judging.scores import Scores
from engine.methods.job import Job, Report
from engine.planning.jobs import held_out, truncation
from engine.runs import checkpoints
from engine.specs.sections import Output


def run(job: Job, reporter: Reporter, output: Output) -> bool:
    """Do the whole job, going on from its newest whole checkpoint. True when it finished, False when it was stopped."""
    torch.set_num_threads(job.plan.threads)
    short_rows.use(job.plan.device, job.plan.compute)
    announce(job, reporter)
    try:
        with shares.helped(job) as helpers:
            before = scores_before(job, reporter)
            model = _fresh(job, reporter)
            trainer = build(job, model, reporter, output, helpers.joined() if helpers else shares.ALONE)
            if not _trained(trainer, reporter):
                raise Stopped
        seconds = trainer.seconds
        _take_best(trainer, reporter)
        calibrate(job, model, reporter)
        folder = save_result(job, model)
        after = scored(job, model, "after", reporter)
    except Stopped:
        reporter.notice("Stopped as you asked. Resume goes on from the last checkpoint.")
        return False
    trainable, total = parameter_counts(model)
    reporter.write(
        finished(
            job,
            before,
            after,
            job.objective.told(job, kept_scores(job.folder)),
            trainable_parameters=trainable,
            total_parameters=total,
            seconds=round(seconds, 2),
            peak_memory_bytes=peak_memory(),
            artifact_bytes=folder_bytes(folder),
        )
    )
    return True


def helped_out(job: Job, reporter: Reporter, join: Callable[[], Share]) -> None:
    """Do a share of the training of a job that another process leads. join: waits until all are there."""
    short_rows.use(job.plan.device, job.plan.compute)
    model = _fresh(job, reporter)
    _trained(build(job, model, reporter, share=join()), reporter)


def finished(
    job: Job, before: dict[str, dict[str, float]], after: Scores | None, further: dict[str, Any], **figures: Any
) -> Finished:
    """The last event of a run. before: as `scores_before` gives it; further: metrics beside the scores."""
    split, rows = held_out(job)
    baselines = {name: metrics for name, metrics in before.items() if name != "before"}
    return Finished(
        metrics={
            "main": job.objective.main(job.objective_settings),
            "rows": len(rows),
            "split": split,
            "before": before.get("before"),
            "baselines": baselines,
            "after": after.metrics if after else None,
            **further,
        },
        **figures,
    )


def build(
    job: Job, model: nn.Module, reporter: Reporter, output: Output | None = None, share: Share = shares.ALONE
) -> Any:
    """The trainer of this job: the objective's, with the loop mixed in and the plan's figures."""
    output = output or Output()
    base, arguments_class, further = job.objective.trainer()
    mixed = type(f"Tunesmith{base.__name__}", (Loop, base), {"keep": output.keep_checkpoints})
    arguments = arguments_class(**_arguments(job), **_checkpointing_off(arguments_class), **further)
    data = {
        split: Dataset.from_list(
            [job.objective.row(job, e, c) for e, c in zip(job.examples[split], job.encoded[split], strict=True)]
        )
        for split in ("train", "validation")
        if job.examples[split]
    }
    given: dict[str, Any] = {"train_dataset": data["train"], "eval_dataset": data.get("validation")}
    if "answers" in job.objective.gives:
        from transformers import AutoTokenizer

        given["processing_class"] = AutoTokenizer.from_pretrained(job.model_folder, local_files_only=True)
    with _head_bare(model), _unmarked(model):
        trainer = mixed(job=job, reporter=reporter, share=share, model=model, args=arguments, **given)
    if output.reporters:
        reporters.prepare(output.reporters, job.folder)
        trainer.add_callback(reporters.Reports(output.reporters, reporter))
    return trainer


def _arguments(job: Job) -> dict[str, Any]:
    training, plan = job.training, job.plan
    checks = bool(job.examples["validation"])
    return {
        "output_dir": str(job.folder / "checkpoints"),
        "per_device_train_batch_size": plan.micro_batch * plan.processes,  # of which each takes a share
        "per_device_eval_batch_size": plan.micro_batch,
        "gradient_accumulation_steps": plan.accumulation,
        "max_steps": plan.total_steps,
        "learning_rate": plan.learning_rate,
        # transformers' "constant" leaves the warm-up out.
        "lr_scheduler_type": "constant_with_warmup" if training.schedule == "constant" else training.schedule,
        "warmup_steps": plan.warmup_steps,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.clip_norm,
        "seed": training.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "steps" if checks else "no",
        "eval_steps": plan.evaluate_every if checks else None,
        "report_to": "none",  # see engine.compute.reporters
        "run_name": job.folder.name,
        "project": reporters.PROJECT,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": plan.device == "cpu",
        "bf16": False,  # autocast is the loop's: parts of the model are called past its forward
        "fp16": plan.compute == "float16",
        "dataloader_pin_memory": plan.device == "cuda",
    }


def _checkpointing_off(arguments_class: Any) -> dict[str, Any]:
    """Arguments that keep the trainer's hands off gradient checkpointing, which `_fresh` decides.

    TRL switches it on by default; transformers renamed it in 5.19 and warns of the old name.
    """
    if "activation_checkpointing" in arguments_class.__dataclass_fields__:
        return {"activation_checkpointing": False, "gradient_checkpointing": None}
    return {"gradient_checkpointing": False}


def _fresh(job: Job, reporter: Reporter) -> nn.Module:
    job.objective.prepare(job, phase(reporter, "teacher"))
    reporter.phase("load", 0, 1)
    set_seed(job.training.seed)
    model = apply_tuner(job, base_model(job))
    if job.plan.checkpointing:
        if job.plan.device == "cpu":
            allocator.give_back_freed_memory()
        backbone = job.objective.backbone(model)
        for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable"):
            switch = getattr(backbone, name, None)
            if switch is not None:
                switch({"use_reentrant": False})
                break
        if hasattr(backbone, "enable_input_require_grads"):
            backbone.enable_input_require_grads()
    if job.plan.packing and not rows_apart.use(model):
        reporter.notice("Rows in one sequence are kept apart by a mask: slower, but this model takes no other way.")
    if job.plan.path == "fast":
        if not body.use(model, dtype(job.plan.compute), job.plan.recompute):
            reporter.notice("This model can't be computed on the fast path, so it is computed as the libraries do.")
        allocator.trim()  # of weights as they were before they were joined
    set_seed(job.training.seed)
    reporter.phase("load", 1, 1)
    return model


def _trained(trainer: Any, reporter: Reporter) -> bool:
    """Train to the end or to a stop; True at the end."""
    newest, skipped = checkpoints.newest_whole(trainer.checkpoints)
    for reason in skipped:
        reporter.notice(f"A damaged checkpoint was passed over: {reason}", "warning")
    total = trainer.args.max_steps
    if newest is not None:
        facts = checkpoints.facts(newest)
        trainer.seconds_before = float(facts.get("seconds", 0.0))
        reporter.notice(f"Going on from the checkpoint of step {facts['step']} of {total}.")
        if facts.get("done"):
            _restore_state(trainer, newest)
            return True
    with _casts_off(trainer), _short_walks(trainer.model):
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    return bool(trainer.done)


def _restore_state(trainer: Any, checkpoint: Path) -> None:
    from transformers import TrainerState

    load_trainable(trainer.model, checkpoint / WEIGHTS_FILE)
    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


def _take_best(trainer: Any, reporter: Reporter) -> None:
    """Put the weights with the lowest held-out loss in place."""
    best = trainer.state.best_global_step
    if best and best != trainer.state.global_step:
        load_trainable(trainer.model, trainer.checkpoints / f"step-{best}" / WEIGHTS_FILE)
        reporter.notice(
            f"The result is step {best}, where held-out loss was lowest ({trainer.state.best_metric:.4f}), "
            f"not the last step ({trainer.state.global_step})."
        )


def scores_before(job: Job, reporter: Reporter) -> dict[str, dict[str, float]]:
    """Metrics of the untouched model under "before", and of the other baselines by name."""
    if not job.evaluation.before or not held_out(job)[1]:
        return {}
    names = [path.stem for path in (job.folder / "scores").glob("before*.json")]
    if "before" not in names:
        reporter.phase("load", 0, 1)
        model = untrained(job)
        _, rows = held_out(job)
        baselines = job.objective.baselines(job, model, rows, phase(reporter, "score baseline"))
        for name, scores in baselines.items():
            save_scores(job, f"before, {name}", scores)
        scored(job, model, "before", reporter)  # last: its file says that all are there
        names = ["before", *(f"before, {name}" for name in baselines)]
    found = {name: load_scores(job.folder, name) for name in names}
    return {name.removeprefix("before, "): scores.metrics for name, scores in found.items() if scores}


def scored(job: Job, model: nn.Module, name: str, reporter: Reporter) -> Scores | None:
    """Score the held-out rows and keep the scores under `name`; None where no rows are held out."""
    _, rows = held_out(job)
    if not rows:
        return None
    scores = job.objective.score(job, model, rows, phase(reporter, f"score {name}"))
    save_scores(job, name, scores)
    return scores


def calibrate(job: Job, model: nn.Module, reporter: Reporter) -> None:
    told = job.objective.calibrate(job, model, phase(reporter, "calibrate"))
    if told:
        reporter.notice(told)


def phase(reporter: Reporter, name: str) -> Report:
    def report(done: int, total: int) -> None:
        reporter.phase(name, done, total)

    return report


def announce(job: Job, reporter: Reporter) -> None:
    """Tell what a person should know before the run begins."""
    note = job.tokens.template_note if job.objective.wants == "messages" else None
    for sentence in (note, *truncation(job), *job.plan.reasons):
        if sentence:
            reporter.notice(sentence)
    _, rows = held_out(job)
    counts = (sum(map(job.objective.answerable, job.examples[split])) for split in ("test", "validation"))
    all_rows = next(filter(None, counts), 0)
    if len(rows) < all_rows:
        reporter.notice(f"{len(rows)} of {all_rows} held-out rows are scored (evaluation.max_rows).")
    if not rows:
        reporter.notice("No rows are held out, so nothing will be scored.", "warning")


@contextmanager
def _head_bare(model: nn.Module) -> Iterator[None]:
    """TRL refuses additions to the language head, since its own loss would not see them; ours calls the head."""
    find = getattr(model, "get_output_embeddings", None)
    head: Any = find() if find and hasattr(model, "peft_config") else None
    if not hasattr(head, "get_base_layer"):
        yield
        return
    model.get_output_embeddings = head.get_base_layer
    try:
        yield
    finally:
        del model.get_output_embeddings


@contextmanager
def _unmarked(model: nn.Module) -> Iterator[None]:
    """Without the marks of a base of few bits while a trainer is made, which misreads them twice.

    TRL would round what learns to bfloat16, where small updates are lost. transformers refuses a base to which nothing
    is added that it knows of; ours has additions (`Tuner.loads` says which tuners make some), of which not all are
    PEFT's.
    """
    marks = {name: vars(model).get(name) for name in ("is_quantized", "is_loaded_in_4bit", "is_loaded_in_8bit")}
    for name in marks:
        setattr(model, name, False)
    try:
        yield
    finally:
        for name, mark in marks.items():
            if mark is None:  # the class or the wrapped model says it
                delattr(model, name)
            else:
                setattr(model, name, mark)


@contextmanager
def _short_walks(model: nn.Module) -> Iterator[None]:
    """Each step sets the mode of all modules, which have it, and clears the gradients of all parameters, of which few
    learn: walks of some ten milliseconds each."""
    parameters, modules, train = list(model.parameters()), list(model.modules()), model.train

    def short_train(mode: bool = True) -> nn.Module:
        return model if mode and all(module.training for module in modules) else train(mode)

    def short_zero_grad(set_to_none: bool = True) -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else parameter.grad.zero_()

    walks = {"train": short_train, "zero_grad": short_zero_grad}
    for name, walk in walks.items():
        setattr(model, name, walk)
    try:
        yield
    finally:
        for name in walks:
            delattr(model, name)


def _casts_off(trainer: Any) -> Any:
    """PEFT casts activations to the adapters' float32 and back at every layer; under autocast that only costs time."""
    from peft.helpers import disable_input_dtype_casting
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in trainer.model.modules() if isinstance(module, BaseTunerLayer)]
    # Not every kind of adapter casts, and PEFT's switch breaks on those that don't.
    casts = all(hasattr(layer, "cast_input_dtype_enabled") for layer in layers)
    return disable_input_dtype_casting(trainer.model, active=casts and trainer.job.plan.compute != "float32")
