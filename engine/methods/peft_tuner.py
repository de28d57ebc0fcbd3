"""Tuners that are an adapter of the PEFT library: from declared settings to its config, script, files and back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.bases.models import ModelFacts
from engine.methods.tuner import WIDTHS, Tuner
from engine.planning.memory import Kept
from engine.settings import Section, setting

if TYPE_CHECKING:
    from torch import nn

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "query", "key", "value", "c_attn", "qkv_proj", "query_key_value")
"""Names of the linear layers of attention, over the usual families."""


FREEZING = """    for name, parameter in model.named_parameters():
        if PART in name:
            parameter.requires_grad_(False)
"""


class Placed(Section):
    """Settings of additions to linear layers."""

    targets: Literal["all-linear", "attention"] = setting(
        "all-linear",
        "Where",
        "Which layers get an addition: all linear ones, or those of attention only (smaller, learns less).",
        advanced=True,
    )


class LowRank(Placed):
    """Settings of additions as LoRA makes them."""

    rank: int = setting(
        16,
        "Rank",
        "Width of the additions. More learns more, and costs more memory and a larger file.",
        ge=1,
        le=1024,
    )
    dropout: float = setting(
        0.0,
        "Dropout",
        "Share of the additions' inputs left out at random, against learning by heart.",
        advanced=True,
        ge=0,
        lt=1,
    )


class PeftTuner(Tuner):
    """Subclasses name PEFT's config class and give its arguments; `target_modules` follows from `targets`."""

    family = "Other additions"
    added_file = "adapter_model.safetensors"
    may_differ = frozenset({"dropout"})
    loads = WIDTHS
    config_class: ClassVar[str]
    transposed: ClassVar[bool] = True
    """Whether the method works on GPT-2's layers, which hold their weights as (inputs, outputs)."""

    plain: ClassVar[bool] = False
    """Whether it is low-rank products added to linear layers, (x A') B' times a number, and nothing else."""
    frozen: ClassVar[str] = ""
    """Part of the names of additions that stay as they begin."""

    def arguments(self, settings: Any) -> dict[str, Any]:
        """Arguments of the config class besides target modules and task type."""
        raise NotImplementedError

    def targets(self, settings: Any) -> str | tuple[str, ...]:
        """ "all-linear", or last names of modules; those that a model has are taken."""
        return "all-linear" if settings.targets == "all-linear" else ATTENTION

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        """Parameters that learn at one linear layer of this shape."""
        raise NotImplementedError

    def targeted(self, facts: ModelFacts, settings: Any) -> dict[str, tuple[int, int]]:
        """Name and (outputs, inputs) of the linear layers that get an addition."""
        targets = self.targets(settings)
        return {name: shape for name, shape in facts.linears.items() if targets == "all-linear" or _leaf(name, targets)}

    def shapes(self, facts: ModelFacts, settings: Any) -> list[tuple[int, int]]:
        return list(self.targeted(facts, settings).values())

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        return {name: self.count(*shape, settings) for name, shape in self.targeted(facts, settings).items()}

    def frozen_count(self, outputs: int, inputs: int, settings: Any) -> int:
        """Parameters that are added to one linear layer of this shape and stay as they begin."""
        return 0

    def frozen_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return sum(self.frozen_count(*shape, settings) for shape in self.shapes(facts, settings))

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        each = [self.kept_at(*shape, settings, width) for shape in self.shapes(facts, settings)]
        token, step, always = (sum(of) for of in zip(*each, strict=True)) if each else (0.0, 0.0, 0.0)
        rereads = self.rereads(width)
        if rereads and self.targets(settings) != "all-linear":
            # Query, key and value read the same; what the end of attention reads is kept anyway.
            return Kept("beside", None, token + facts.layers * facts.hidden * width, step, always)
        return Kept("read" if rereads else "beside", None, token, step, always)

    def rereads(self, width: int) -> bool:
        """Whether the additions need what their layers read, as it is, once more in the backward pass."""
        return True

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        """Bytes that one linear layer of this shape keeps for each token, in each step, and always (`Kept`)."""
        return 0.0, 0.0, 0.0

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if not self.transposed and facts.config.get("model_type") in ("gpt2", "openai-gpt"):
            return f"{self.title} does not work on layers as {facts.id} has them (GPT-2's Conv1D); choose LoRA."
        if self.shapes(facts, settings):
            return None
        return f"{facts.id} has no layers of the names that {self.title} changes; choose LoRA on all linear layers."

    def low_rank(self, settings: Any) -> bool:
        return self.plain and not getattr(settings, "dropout", 0.0)

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        import peft
        import torch

        with _quiet():
            config = getattr(peft, self.config_class)(
                **self.arguments(settings),
                **self.orientation(backbone),
                target_modules=self._modules(backbone, settings),
                task_type=peft.TaskType.CAUSAL_LM if backbone.can_generate() else peft.TaskType.FEATURE_EXTRACTION,
            )
            torch.manual_seed(seed)
            model = peft.get_peft_model(backbone, config)
        for name, parameter in model.named_parameters():
            if self.frozen and self.frozen in name:
                parameter.requires_grad_(False)
        return model

    def script(self, settings: Any) -> str:
        targets = self.targets(settings)
        chosen = repr(targets)
        if isinstance(targets, tuple):
            chosen = f'sorted({{n.rsplit(".", 1)[-1] for n, _ in backbone.named_modules()}} & set({targets!r}))'
        lines = "".join(f"        {name}={value!r},\n" for name, value in self.arguments(settings).items())
        freezing = FREEZING.replace("PART", repr(self.frozen)) if self.frozen else ""
        return f"""
def tune(backbone):
    from peft import {self.config_class}, get_peft_model

    config = {self.config_class}(
{lines}        target_modules={chosen},
        task_type="CAUSAL_LM" if backbone.can_generate() else "FEATURE_EXTRACTION",
    )
    torch.manual_seed(SEED)
    model = get_peft_model(backbone, config)
{freezing}    return model
"""

    def save(self, backbone: nn.Module, folder: Path) -> None:
        backbone.save_pretrained(folder)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from peft import PeftModel

        with _quiet():
            return PeftModel.from_pretrained(backbone, folder)

    def _modules(self, backbone: nn.Module, settings: Any) -> str | list[str]:
        targets = self.targets(settings)
        if isinstance(targets, str):
            return targets
        return sorted({name.rsplit(".", 1)[-1] for name, _ in backbone.named_modules()} & set(targets))

    def orientation(self, backbone: nn.Module) -> dict[str, Any]:
        """GPT-2's Conv1D holds its weight as (inputs, outputs)."""
        if not any(type(module).__name__ == "Conv1D" for module in backbone.modules()):
            return {}
        return {"fan_in_fan_out": True}


def unfit(facts: ModelFacts, shapes: list[tuple[int, int]], block: int) -> str | None:
    """Why blocks of so many inputs don't fill these layers, or None where they do."""
    odd = next((inputs for _, inputs in shapes if inputs % block), None)
    if odd is None:
        return None
    return (
        f"{facts.id} has a layer with {odd} inputs, which blocks of {block} don't divide: choose another 'Block size'."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what PEFT says of choices that were made on purpose.

    BEFT says that what it adds can't be merged; RandLoRA that its bases are made again from a seed; any tuner of tied
    embeddings that they are tied, which the one here takes care of.
    """
    with warnings.catch_warnings():
        for words in (
            "Detected that the base",
            "Specified to not",
            "Model has `tie_word_embeddings=True`",
        ):
            warnings.filterwarnings("ignore", words)
        yield


def _leaf(name: str, targets: tuple[str, ...] | str) -> bool:
    return name.rsplit(".", 1)[-1] in targets
