"""Loads base models, in the width that the plan chose. Safetensors only, no code from the model's folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from engine.compute.precision import dtype
from engine.compute.take_up import take_up
from engine.errors import MachineError, ModelError
from engine.methods.job import Job

Part = Literal["causal", "masked", "masked with a new head", "features"]


def load_backbone(job: Job, kind: Part) -> nn.Module:
    """The base model of a run on the plan's device: with its language head ("causal", "masked") or "features" alone.

    A new head begins as the seed has it, and shares the word embeddings.

    Raises ModelError where the folder can't be loaded, MachineError where a needed library is missing.
    """
    loader = {"causal": AutoModelForCausalLM, "features": AutoModel}.get(kind, AutoModelForMaskedLM)
    arguments: dict[str, Any] = {"attn_implementation": "sdpa", "output_loading_info": True}
    if job.plan.weights in ("8bit", "4bit"):
        arguments |= {"quantization_config": _quantization(job), "device_map": {"": job.plan.device}}
        arguments["dtype"] = dtype(job.plan.compute)
    else:
        arguments["dtype"] = dtype(job.plan.weights)
    try:
        if kind == "masked with a new head":
            arguments["config"] = AutoConfig.from_pretrained(job.model_folder, local_files_only=True)
            arguments["config"].tie_word_embeddings = True
        with _seeded(job) if kind == "masked with a new head" else nullcontext():
            model, found = loader.from_pretrained(
                job.model_folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, **arguments
            )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{job.facts.id} can't be loaded: {str(error).splitlines()[0]}",
            "Choose another model, or its safetensors version.",
        ) from error
    if kind == "causal" and found["missing_keys"]:
        raise ModelError(
            f"{job.facts.id} lacks a part of its language head ({min(found['missing_keys'])}), as a classifier does.",
            "Choose a model that writes, or go on classifying with this one.",
        )
    may_lack = "" if kind == "masked" else f"{model.base_model_prefix}."
    missing = sorted(name for name in found["missing_keys"] if name.startswith(may_lack))
    if kind.startswith("masked") and missing:
        raise ModelError(
            f"{job.facts.id} lacks a part of its masked-language {'body' if may_lack else 'head'} ({missing[0]}).",
            "Choose a model whose files hold all of it.",
        )
    if job.plan.weights not in ("8bit", "4bit"):
        model.to(job.plan.device)
    for module in model.modules():
        # bitsandbytes repacks a 4-bit weight for the processor when it is first used without gradients (a sample, a
        # score), and no gradient passes through the repacked form: training after that would learn wrongly, silently.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if kind == "causal":
        # Generation hands over a slice of the hidden states that is not contiguous; a linear layer on the CPU then
        # copies its weight, the largest of the model, once for each row.
        head = model.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(lambda module, given: (given[0].contiguous(),))
    return model.requires_grad_(False).eval()


@contextmanager
def _seeded(job: Job) -> Iterator[None]:
    """What is drawn inside follows from the run's seed, and nothing outside from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.training.seed)
        yield


def apply_tuner(job: Job, model: nn.Module) -> nn.Module:
    """The model with only the tuner's and the objective's parameters trainable, these in float32."""
    model.requires_grad_(False)
    backbone = job.tuner.apply(job.objective.backbone(model), job.tuner_settings, job.training.seed)
    if job.goes_on and job.start is not None:
        for parameter in backbone.parameters():
            _widen(parameter)
        try:
            take_up(backbone, job.start / job.tuner.added_file)
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"This run can't go on with what {job.model.id} added: {error}.",
                "Start from the base of that run, or let something new learn on top of it.",
            ) from None
    model = job.objective.set_backbone(model, backbone)
    for parameter in job.objective.head(model).values():
        parameter.requires_grad_(True)
    for parameter in model.parameters():
        _widen(parameter)
    return model


def base_model(job: Job) -> nn.Module:
    """The model before anything of this job learns; it may go on from the head of another run."""
    model = job.objective.load(job)
    job.objective.take_up(job, model)
    return model


def untrained(job: Job) -> nn.Module:
    """The model as the run finds it: where it goes on with what another run added, with that."""
    model = base_model(job)
    if job.goes_on and job.start is not None:
        backbone = job.tuner.restore(job.objective.backbone(model), job.start)
        model = job.objective.set_backbone(model, backbone)
    return model.eval()


def _widen(parameter: nn.Parameter) -> None:
    if parameter.requires_grad and parameter.dtype != torch.float32:
        parameter.data = parameter.data.float()


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Trainable and all parameters; a quantised weight counts with the values that it stands for."""
    trainable = total = 0
    for parameter in model.parameters():
        count = parameter.numel()
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            count = int(torch.Size(state.shape).numel())
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


def _quantization(job: Job) -> Any:
    try:
        import bitsandbytes  # noqa: F401 - transformers needs it, and says so less plainly
        from transformers import BitsAndBytesConfig
    except ImportError:
        raise MachineError(
            f"{job.plan.weights} base weights need the package bitsandbytes, which is not installed.",
            "Install bitsandbytes, or load the model in 16bit.",
        ) from None
    if job.plan.weights == "8bit":
        # It says so at every layer of every step that it computes in float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype(job.plan.compute),
    )
