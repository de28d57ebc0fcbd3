"""PiSSA: LoRA that begins as the largest directions of each weight (Meng, Wang, Zhang 2024, arXiv 2404.02948)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner, Placed
from engine.methods.tuner import UNROUNDED
from engine.settings import setting

if TYPE_CHECKING:
    from torch import nn

PASSES = 16
"""Of the randomised SVD: so many make it as good as a whole one (section 5.4), which takes minutes."""


class Pissa(PeftTuner):
    name = "pissa"
    title = "PiSSA"
    help = "LoRA that begins as the strongest directions of each weight in place of chance."
    choose = "Choose it to learn faster from the first step. The result is an ordinary LoRA of twice the rank."
    paper = "https://arxiv.org/abs/2404.02948"
    family = "LoRA and its kin"
    order = 31
    once = "Its result is saved as an ordinary LoRA of twice the rank; let a LoRA learn on top of it."
    base_rate = 5e-4
    loads = UNROUNDED  # it takes its largest directions out of the weights themselves
    config_class = "LoraConfig"
    plain = True

    class Settings(Placed):
        rank: int = setting(
            16,
            "Rank",
            "How many directions of each weight learn. The saved addition has twice this rank.",
            ge=1,
            le=512,
        )

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        narrowest = min((min(shape) for shape in self.shapes(facts, settings)), default=settings.rank)
        if narrowest < settings.rank:
            return f"A layer of {facts.id} has {narrowest} directions, fewer than Rank {settings.rank}: lower it."
        return super().refuses(facts, settings)

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"r": settings.rank, "lora_alpha": settings.rank}

    def kept_at(self, outputs: int, inputs: int, settings: Any, width: int) -> tuple[float, float, float]:
        return width * settings.rank, 0.0, 0.0

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return int(settings.rank * (inputs + outputs))

    def frozen_count(self, outputs: int, inputs: int, settings: Any) -> int:
        return self.count(outputs, inputs, settings)

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        from engine.compute.low_rank import start_from_largest

        return start_from_largest(super().apply(backbone, settings, seed), PASSES)

    def save(self, backbone: nn.Module, folder: Path) -> None:
        from engine.compute.low_rank import save_both

        save_both(backbone, folder)

    def script(self, settings: Any) -> str:
        plain = super().script(settings).replace("def tune(", "def add(")
        return plain + SCRIPT.replace("PASSES", str(PASSES))


SCRIPT = '''

def layers(model):
    return [(n, m) for n, m in model.named_modules() if hasattr(m, "lora_A") and hasattr(m, "get_base_layer")]


def tune(backbone):
    """Each addition begins as the largest directions of its weight; a frozen one takes them away from the base."""
    import copy

    model = add(backbone)
    model.add_adapter("beginning", copy.deepcopy(model.peft_config["default"]))
    model.base_model.set_adapter(["default", "beginning"])
    with torch.no_grad():
        for _, layer in layers(model):
            weight = layer.get_base_layer().weight.float()
            weight = weight.T if layer.fan_in_fan_out else weight
            left, values, right = torch.svd_lowrank(weight, layer.r["default"], niter=PASSES)
            for name, sign in (("default", 1), ("beginning", -1)):
                layer.lora_A[name].weight.copy_(values.sqrt()[:, None] * right.T)
                layer.lora_B[name].weight.copy_(sign * left * values.sqrt())
    for name, parameter in model.named_parameters():
        if ".beginning." in name:
            parameter.requires_grad_(False)
    return model


def save(model, folder):
    """Both additions as one ordinary LoRA of twice the rank, for the unchanged base."""
    import copy

    from safetensors.torch import save_file

    both, tensors = ("default", "beginning"), {}
    for name, layer in layers(model):
        tensors[f"{name}.lora_A.weight"] = torch.cat([layer.lora_A[one].weight.detach() for one in both])
        tensors[f"{name}.lora_B.weight"] = torch.cat([layer.lora_B[one].weight.detach() for one in both], dim=1)
    config = copy.deepcopy(model.peft_config["default"])
    config.r = config.lora_alpha = 2 * config.r
    config.inference_mode = True
    config.save_pretrained(folder)
    save_file(tensors, Path(folder) / "adapter_model.safetensors", metadata={"format": "pt"})
'''


METHOD = Pissa()
