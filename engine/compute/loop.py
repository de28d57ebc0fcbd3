"""What all training loops share, mixed into the trainer that an objective chooses.

Events, stop at the next step, checkpoints that are whole or absent, exact resume, best weights, early
stopping. The loop itself is transformers' (or TRL's); nothing here walks over batches but the held-out loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback

from engine.compute.batches import ByLength
from engine.compute.optimizer import make_optimizer
from engine.compute.precision import autocast
from engine.compute.report import Reporter, peak_memory
from engine.compute.shares import ALONE, Share
from engine.errors import UserError
from engine.events import NOT_A_NUMBER, Progress
from engine.methods.job import Job
from engine.runs import checkpoints

WEIGHTS_FILE = "trainable.safetensors"
NOTHING = "nothing"
"""Marks a batch of a process for which no row is left: it is computed, and counts for nothing."""
STATE_FILE = "tuner.safetensors"
"""What the tuner keeps besides, where it keeps something."""


if TYPE_CHECKING:
    from transformers import Trainer as Base
else:
    Base = object


class Loop(Base):
    """Mixin that goes before a transformers Trainer: `class Mixed(Loop, SFTTrainer)`."""

    # The loss is divided by the learned positions of the whole update, whatever the micro-batch.
    loss_is_scaled_for_ga = True
    optimizer: Any
    control: Any

    def __init__(self, *, job: Job, reporter: Reporter, share: Share = ALONE, **arguments: Any) -> None:
        self.job = job
        self.reporter = reporter
        self.share = share
        self.divides = True
        """Whether of each batch only this process's share is made."""
        self.losses = job.objective.losses(job)
        self.writes = job.objective.own(job.objective_settings) is not None
        """Whether the model writes answers itself; batches then hold their rows, too, until it has."""
        self.sampler: ByLength | None = None
        self.tokens_seen = 0
        self.seconds_before = 0.0
        self.done = False
        """Whether training has ended by itself: at the last step or early, not by a wish to stop."""
        self.began = time.monotonic()
        self.saved_at = time.monotonic()
        super().__init__(data_collator=self._collate, **arguments)
        self.model_accepts_loss_kwargs = True
        self.remove_callback(PrinterCallback)
        self.add_callback(_Watch(self))

    @property
    def checkpoints(self) -> Path:
        return self.job.folder / "checkpoints"

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.began

    # Batches

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        own = self.share.of(rows) if self.divides else rows
        drawn = self.job.objective.drawn(self.job, own or rows[:1], self.sampler.epoch if self.sampler else 0)
        batch = self._batch(drawn) | ({"rows": drawn} if self.writes else {})
        return batch if own else batch | {NOTHING: True}

    def _batch(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self.job.objective.batch(self.job, rows), "tokens": sum(len(row["input_ids"]) for row in rows)}

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], torch.Tensor | None]:
        """The batches of an update, with what the model that learns writes of them first, and their learned positions.

        All of it is written at once, before the first gradient: the weights are the same for the whole update.
        """
        batches, learned = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not self.writes or not batches:
            return batches, learned
        rows = [row for batch in batches for row in batch["rows"]]
        with autocast(self.job.plan):
            written = iter(self.job.objective.written(self.job, self.model, rows, self.state.global_step))
        batches = [
            {**self._batch([next(written) for _ in batch["rows"]]), **{k: v for k, v in batch.items() if k == NOTHING}}
            for batch in batches
        ]
        return batches, self._get_num_items_in_batch(batches, device)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        data = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [len(ids) for ids in data["input_ids"]]
        self.sampler = ByLength(lengths, self.job.training.batch_size, self.job.training.seed, self.job.mixture)
        return self.sampler

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor | None:
        if not batch_samples:
            return None
        learned = [batch["labels"].ne(-100).sum() * (NOTHING not in batch) for batch in batch_samples]
        return self.share.total(torch.stack(learned).sum().to(device))

    # Loss

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        self.tokens_seen += inputs.pop("tokens", 0)
        nothing = inputs.pop(NOTHING, False)
        with autocast(self.job.plan):
            losses, _ = self.losses(model, inputs)
        learned = len(losses) if num_items_in_batch is None else num_items_in_batch.clamp(min=1)
        loss = losses.sum() / learned
        penalty = self.job.tuner.penalty(self.job.objective.backbone(self.model), self.job.tuner_settings)
        if penalty is not None:
            # In the share of this micro-batch; its gradient counts, its value would hide how well the rows are known.
            loss = loss + (penalty - penalty.detach()) * (len(losses) / learned)
        return loss * 0 if nothing else loss

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            self.share.add_up(self.model.parameters())
        return self.share.total(loss)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # walks over all parameters at each step, for a figure that nobody reads

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.job.plan.optimizer, _groups(self.job, self.model), self.model)
        return self.optimizer

    def _get_learning_rate(self) -> float:
        """The run's rate as the schedule has it now; the first group may learn slower or faster than it."""
        group = self.optimizer.param_groups[0]
        if group["initial_lr"] == self.job.plan.learning_rate:
            return float(group["lr"])
        return float(self.job.plan.learning_rate * group["lr"] / group["initial_lr"])

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Held-out loss in nats per learned position; `eval_seconds` is what it took.

        With a mixture, data sets count alike, however many rows of each are held out.
        """
        began = time.monotonic()
        loss = self._held_out_loss(eval_dataset) if self.share.leads else math.nan
        metrics = {f"{metric_key_prefix}_loss": self.share.told(loss)[0]}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.reporter.evaluation(
            self.state.global_step, {"loss": metrics["eval_loss"], "seconds": time.monotonic() - began}
        )
        return metrics

    def _held_out_loss(self, eval_dataset: Any) -> float:
        self.divides = False
        self.model.eval()
        found: dict[int, list[torch.Tensor]] = {}
        for inputs in self.get_eval_dataloader(eval_dataset):
            inputs.pop("rows", None)
            inputs = self._prepare_inputs(inputs)
            inputs.pop("tokens", 0)
            with torch.no_grad(), autocast(self.job.plan):
                losses, rows = self.losses(self.model, inputs)
            sets = inputs["tasks"][rows] if self.job.mixture else torch.zeros_like(rows)
            for number in sets.unique().tolist():
                found.setdefault(number, []).append(losses[sets == number])
        self.model.train()
        self.divides = True
        means = [sum(float(part.sum()) for part in parts) / sum(map(len, parts)) for parts in found.values()]
        return sum(means) / max(len(means), 1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        if "eval_loss" not in logs and self.state.log_history:
            # Step losses are in events.jsonl; kept here too they would swell every checkpoint.
            self.state.log_history.pop()

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any = None) -> bool:
        loss = metrics["eval_loss"]
        best = self.state.best_metric is None or loss < self.state.best_metric
        if best:
            self.state.best_metric = loss
            self.state.best_global_step = self.state.global_step
            self.control.should_save = True
        patience = self.job.evaluation.early_stopping
        since = sum(1 for entry in self.state.log_history if entry["step"] > self.state.best_global_step)
        if patience is not None and since >= patience and not self.control.should_training_stop:
            self.reporter.notice(
                f"Stopped early at step {self.state.global_step}: {since} checks in a row brought no held-out loss "
                f"below {self.state.best_metric:.4f} (step {self.state.best_global_step})."
            )
            self.control.should_training_stop = self.control.should_save = self.done = True
        return best

    # Checkpoints

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        step = self.state.global_step
        self.done = self.done or step >= self.state.max_steps
        if not self.share.leads:
            return
        folder = self.checkpoints / f"step-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        # A resumed run may meet its own unfinished folder: without a manifest it is no checkpoint meanwhile.
        (folder / checkpoints.MANIFEST).unlink(missing_ok=True)
        save_file(trainable_state(self.model), folder / WEIGHTS_FILE)
        state = self.job.tuner.state(self.job.objective.backbone(self.model))
        if state:
            save_file(state, folder / STATE_FILE)
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / "trainer_state.json"))
        best = self.state.best_global_step == step
        checkpoints.commit(folder, {"step": step, "seconds": self.seconds, "done": self.done})
        best_folder = f"step-{self.state.best_global_step}" if self.state.best_global_step else None
        checkpoints.rotate(self.checkpoints, self.keep, best_folder)
        size = sum(file.stat().st_size for file in folder.iterdir())
        self.reporter.checkpoint(step, str(folder.relative_to(self.job.folder)), size, best)
        self.saved_at = time.monotonic()

    keep = 2

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_trainable(self.model, Path(resume_from_checkpoint) / WEIGHTS_FILE)
        state = Path(resume_from_checkpoint) / STATE_FILE
        if state.exists():
            self.job.tuner.set_state(self.job.objective.backbone(self.model), load_file(state))


class _Watch(TrainerCallback):
    """What happens between steps."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.loop.began = self.loop.saved_at = self.step_began = time.monotonic()
        self.first_step = state.global_step

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        updates = math.ceil(len(self.loop.sampler) / self.loop.job.training.batch_size)
        self.loop.sampler.epoch = state.global_step // updates

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # Dropout depends on seed and step alone: equal after a resume, and in the standalone script.
        job: Job = self.loop.job
        torch.manual_seed(step_seed(job.training.seed, state.global_step) + self.loop.share.rank)
        backbone = job.objective.backbone(self.loop.model)
        job.tuner.step_begins(backbone, job.tuner_settings, state.global_step, state.max_steps)

    def on_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        job: Job = self.loop.job
        backbone = job.objective.backbone(self.loop.model)
        job.tuner.step_ends(backbone, job.tuner_settings, state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        now = time.monotonic()
        step_seconds, self.step_began = now - self.step_began, now
        last = state.global_step >= state.max_steps
        due = now - self.loop.saved_at + step_seconds >= self.loop.job.training.save_minutes * 60
        wanted = self.loop.reporter.stop_wanted()
        stop, due = map(bool, self.loop.share.told(wanted, due))
        if stop and not last:
            control.should_training_stop = control.should_save = True
        if last and self.loop.eval_dataset is not None:
            control.should_evaluate = True
        if last or due:
            control.should_save = True

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        loss, norm = float(logs["loss"]), logs.get("grad_norm")
        if not math.isfinite(loss) or (
            norm is not None and not math.isfinite(norm) and self.loop.job.plan.compute != "float16"
        ):
            raise UserError(
                f"{NOT_A_NUMBER} at step {state.global_step}; the last good checkpoint is kept.",
                f"Lower the learning rate (it is {self.loop.job.plan.learning_rate:g}), or look for odd rows.",
            )
        took = (self.loop.seconds - self.loop.seconds_before) / self.loop.share.count
        self.loop.reporter.step(
            Progress(
                step=state.global_step,
                total_steps=state.max_steps,
                epoch=round(state.epoch or 0.0, 4),
                loss=loss,
                learning_rate=logs.get("learning_rate"),
                grad_norm=norm,
                tokens_per_second=round(self.loop.tokens_seen / took, 1) if took > 0 else None,
                memory_bytes=peak_memory(),
                seconds=round(self.loop.seconds, 2),
            )
        )

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        job: Job = self.loop.job
        held_out = [row for row in job.examples.get("validation") or [] if job.objective.answerable(row)]
        if held_out and self.loop.share.leads:
            example = held_out[(state.global_step // max(1, job.plan.evaluate_every)) % len(held_out)]
            answer = job.objective.sample(job, self.loop.model, example)
            self.loop.model.train()
            if answer is not None:
                prompt, expected = job.objective.asked(example)
                self.loop.reporter.sample(state.global_step, prompt, answer, expected)


def step_seed(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step) % 2**63


def trainable_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Trainable parameters by name, each once."""
    return {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}


def load_trainable(model: nn.Module, file: Path) -> None:
    """Put saved weights back in place. Raises UserError where they don't belong to this model."""
    saved = load_file(file)
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if saved.keys() != wanted.keys():
        differing = sorted(saved.keys() ^ wanted.keys())
        raise UserError(
            f"The checkpoint {file.parent.name} holds other weights than this run trains "
            f"({differing[0]}, {len(differing)} in all).",
            "Start a new run: the settings of this one were changed.",
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(saved[name])


def _groups(job: Job, model: nn.Module) -> list[dict[str, Any]]:
    """Optimizer groups: the tuner's rates and the head's; no decay on vectors (norms, biases)."""
    plan, heads = job.plan, {id(p) for p in job.objective.head(model).values()}
    own = {name: p for name, p in job.objective.backbone(model).named_parameters() if p.requires_grad}
    factors = {id(own[name]): factor for name, factor in job.tuner.rates(own, job.tuner_settings).items()}
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            kind = (id(parameter) in heads, factors.get(id(parameter), 1.0), parameter.ndim >= 2)
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": plan.head_rate if head and plan.head_rate else plan.learning_rate * factor,
            "weight_decay": job.training.weight_decay if decays else 0.0,
        }
        for (head, factor, decays), parameters in groups.items()
    ]
