"""AdaLoRA: the rank goes where it is needed (Zhang et al. 2023, arXiv 2303.10512)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner, Placed
from engine.settings import setting

if TYPE_CHECKING:
    import torch
    from torch import nn

BEGINS_WITH = 1.5
"""Times the rank in the end (section 4.1)."""
FIRST, LAST = 0.1, 0.3
"""Shares of the run before directions are given up, and after the last were."""
ORTHOGONALITY = 0.5
"""Weight of the penalty that keeps directions at right angles (section 3.1); PEFT's default."""


class Adalora(PeftTuner):
    name = "adalora"
    title = "AdaLoRA"
    help = (
        "LoRA that begins with half as much rank again and gives up the directions that matter least in any layer: "
        "layers that need much keep much."
    )
    choose = (
        "Choose it where the file has to be small and time matters less: it takes longer than LoRA. The result is "
        "an ordinary LoRA."
    )
    paper = "https://arxiv.org/abs/2303.10512"
    family = "LoRA and its kin"
    order = 33
    once = "Its result is saved as an ordinary LoRA without what it gave up; let something new learn on top of it."
    base_rate = 2e-3
    config_class = "AdaLoraConfig"

    class Settings(Placed):
        rank: int = setting(
            16,
            "Average rank",
            "Width of the additions that is left in the end, on average over the layers.",
            ge=1,
            le=682,
        )

    def arguments(self, settings: Any) -> dict[str, Any]:
        first = _first_rank(settings)
        return {
            "init_r": first,
            "target_r": settings.rank,
            "lora_alpha": 2 * first,
            "orth_reg_weight": ORTHOGONALITY,
            "total_step": 1,  # `step_ends` knows
        }

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        # In 16 bits what comes out is kept before it is cast, else the first matrix with its lengths. The allocator
        # remembers three averages of each weight.
        rank, averages = _first_rank(settings), 12.0 * self.count(outputs, inputs, settings)
        return (2.0 * (rank + outputs), 0.0, averages) if width == 2 else (4.0 * rank, 4.0 * rank * inputs, averages)

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return _first_rank(settings) * (inputs + outputs + 1)

    def frozen_count(self, outputs: int, inputs: int, settings: Any) -> int:
        return 1  # PEFT keeps the rank as a parameter

    def saved_parameters(self, facts: ModelFacts, settings: Any) -> int:
        # What is kept is an ordinary LoRA of this rank on average.
        return sum(settings.rank * (outputs + inputs) for outputs, inputs in self.shapes(facts, settings))

    def step_ends(self, backbone: nn.Module, settings: Any, step: int, total: int) -> None:
        from engine.compute.allocation import allocate

        first, last = math.ceil(FIRST * total), math.ceil(LAST * total)
        if first < total - last:  # in fewer steps nothing can be told of what matters
            allocate(backbone, step, (first, last, total))

    def penalty(self, backbone: nn.Module, settings: Any) -> torch.Tensor:
        from engine.compute.allocation import skewness

        return ORTHOGONALITY * skewness(backbone)

    def state(self, backbone: nn.Module) -> dict[str, torch.Tensor]:
        from engine.compute.allocation import state

        return state(backbone)

    def set_state(self, backbone: nn.Module, state: dict[str, torch.Tensor]) -> None:
        from engine.compute.allocation import set_state

        set_state(backbone, state)

    def save(self, backbone: nn.Module, folder: Path) -> None:
        from engine.compute.low_rank import save_pruned

        save_pruned(backbone, folder)

    def script(self, settings: Any) -> str:
        plain = super().script(settings).replace("def tune(", "def add(")
        schedule = SCRIPT.replace("FIRST", str(FIRST)).replace("LAST", str(LAST))
        return plain + schedule.replace("ORTHOGONALITY", str(ORTHOGONALITY))


def _first_rank(settings: Any) -> int:
    return math.ceil(BEGINS_WITH * settings.rank)


SCRIPT = '''

TUNED = None


def tune(backbone):
    import math

    global TUNED
    TUNED = add(backbone)
    config = TUNED.peft_config["default"]
    config.tinit, config.tfinal, config.total_step = math.ceil(FIRST * STEPS), math.ceil(LAST * STEPS), STEPS
    return TUNED


def step_ends(step):
    """Gives up the directions that matter least; a run of very few steps keeps all."""
    config = TUNED.peft_config["default"]
    if config.tinit < STEPS - config.tfinal:
        for parameter in TUNED.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        TUNED.base_model.update_and_allocate(step)


def penalty():
    """How far directions are from right angles."""
    found = []
    for name, p in TUNED.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            products = p @ p.T if "lora_A" in name else p.T @ p
            found.append(torch.linalg.norm(products - torch.eye(len(products), device=p.device)))
    return ORTHOGONALITY * torch.stack(found).mean()


def save(model, folder):
    """The directions that are left, as an ordinary LoRA with a rank of its own in each layer."""
    from peft import LoraConfig
    from safetensors.torch import save_file

    own, tensors, ranks = model.peft_config["default"], {}, {}
    for name, layer in model.named_modules():
        if hasattr(layer, "lora_E"):
            values = layer.lora_E["default"][:, 0] * layer.scaling["default"] / (layer.ranknum["default"] + 1e-5)
            kept = values.nonzero()[:, 0].tolist() or [0]
            tensors[f"{name}.lora_A.weight"] = (layer.lora_A["default"][kept] * values[kept, None]).detach()
            tensors[f"{name}.lora_B.weight"] = layer.lora_B["default"][:, kept].detach().contiguous()
            ranks[name.removeprefix("base_model.model.")] = len(kept)
    config = LoraConfig(
        r=max(ranks.values()),
        lora_alpha=max(ranks.values()),
        rank_pattern=ranks,
        alpha_pattern=dict(ranks),
        target_modules=own.target_modules,
        fan_in_fan_out=own.fan_in_fan_out,
        task_type=own.task_type,
        base_model_name_or_path=own.base_model_name_or_path,
        inference_mode=True,
    )
    config.save_pretrained(folder)
    save_file(tensors, Path(folder) / "adapter_model.safetensors", metadata={"format": "pt"})
'''


METHOD = Adalora()
