"""LoRA: the weights stay, a low-rank product is added to each and learns (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.job import Tuner
from engine.models import ModelFacts
from engine.settings import Section, setting

if TYPE_CHECKING:
    from torch import nn

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "query", "key", "value", "c_attn", "qkv_proj", "query_key_value")


class Lora(Tuner):
    name = "lora"
    title = "LoRA"
    help = (
        "The model's weights stay as they are; a small addition to each learns. Needs little memory, gives a file of "
        "a few megabytes, and comes close to full fine-tuning on most tasks."
    )
    paper = "https://arxiv.org/abs/2106.09685"
    order = 10
    recommended = True
    base_rate = 5e-4
    loads = frozenset({"auto", "32bit", "16bit", "8bit", "4bit"})

    class Settings(Section):
        rank: int = setting(
            16,
            "Rank",
            "Width of the additions. More learns more, and costs more memory and a larger file.",
            ge=1,
            le=1024,
        )
        alpha: float | None = setting(
            None,
            "Alpha",
            "Strength of the additions: they are multiplied by alpha / rank. Empty means twice the rank.",
            advanced=True,
            gt=0,
            le=4096,
        )
        dropout: float = setting(
            0.0,
            "Dropout",
            "Share of the additions' inputs left out at random, against learning by heart.",
            advanced=True,
            ge=0,
            lt=1,
        )
        targets: Literal["all-linear", "attention"] = setting(
            "all-linear",
            "Where",
            "Which layers get an addition: all linear ones, or those of attention only (smaller, learns less).",
            advanced=True,
        )

    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        shapes = [
            shape
            for name, shape in facts.linears.items()
            if settings.targets == "all-linear" or name.rsplit(".", 1)[-1] in ATTENTION
        ]
        return settings.rank * sum(inputs + outputs for outputs, inputs in shapes)

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if self.trainable_parameters(facts, settings):
            return None
        return f"{facts.id} has no layers of the kind that '{settings.targets}' names; choose 'all-linear'."

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        import torch
        from peft import LoraConfig, TaskType, get_peft_model

        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha or 2 * settings.rank,
            lora_dropout=settings.dropout,
            target_modules="all-linear" if settings.targets == "all-linear" else _attention_modules(backbone),
            # GPT-2's Conv1D holds its weight as (inputs, outputs).
            fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in backbone.modules()),
            task_type=TaskType.CAUSAL_LM if backbone.can_generate() else TaskType.FEATURE_EXTRACTION,
        )
        torch.manual_seed(seed)
        return get_peft_model(backbone, config)

    def script(self, settings: Any) -> str:
        targets = '"all-linear"'
        if settings.targets == "attention":
            targets = (
                f'sorted({{name.rsplit(".", 1)[-1] for name, _ in backbone.named_modules()}} & set({ATTENTION!r}))'
            )
        return f"""
def tune(backbone):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r={settings.rank},
        lora_alpha={settings.alpha or 2 * settings.rank},
        lora_dropout={settings.dropout},
        target_modules={targets},
        task_type="CAUSAL_LM" if backbone.can_generate() else "FEATURE_EXTRACTION",
    )
    torch.manual_seed(SEED)
    return get_peft_model(backbone, config)
"""

    def save(self, backbone: nn.Module, folder: Path) -> None:
        backbone.save_pretrained(folder)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from peft import PeftModel

        return PeftModel.from_pretrained(backbone, folder)


def _attention_modules(backbone: nn.Module) -> list[str]:
    names = {name.rsplit(".", 1)[-1] for name, _ in backbone.named_modules()}
    return sorted(names & set(ATTENTION))


METHOD = Lora()
