"""Tuners that let some of the base's own parameters learn, chosen by their names; the result holds only those."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases.models import ModelFacts
from engine.methods.tuner import Tuner

if TYPE_CHECKING:
    from torch import nn


class PartialTuner(Tuner):
    needs = frozenset({"gradients", "trainable base"})
    added_file = "changed.safetensors"
    may_differ = frozenset({"depth_factor", "gradual"})

    @abstractmethod
    def chosen(self, name: str, layers: int, settings: Any) -> bool:
        """Whether a parameter of a model with so many layers learns."""

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        return {name: info.count for name, info in facts.tensors.items() if self.chosen(name, facts.layers, settings)}

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        from engine.compute.partial import learn

        layers = backbone.config.get_text_config().num_hidden_layers
        return learn(backbone, lambda name: self.chosen(name, layers, settings))

    def save(self, backbone: nn.Module, folder: Path) -> None:
        from engine.compute.partial import save_changed

        save_changed(backbone, folder)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from engine.compute.partial import restore_changed

        return restore_changed(backbone, folder)
