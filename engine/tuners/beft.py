"""BEFT: new bias terms on what attention reads out (Huang et al. 2025, arXiv 2509.15974)."""

from __future__ import annotations

from typing import Any

from engine.bases.models import ModelFacts
from engine.methods.peft_tuner import PeftTuner
from engine.planning.memory import Kept
from engine.settings import Section

VALUES = ("v_proj", "value", "value_proj")


class Beft(PeftTuner):
    name = "beft"
    title = "New biases on values (BEFT)"
    help = "A bias is added to the values that attention reads, and only it learns: BitFit for models without biases."
    choose = "Choose it for few rows, or for many results of one model: its files are the smallest of all."
    paper = "https://arxiv.org/abs/2509.15974"
    order = 42
    base_rate = 1e-2
    config_class = "BeftConfig"
    unmergeable = "The layers of most models have no bias that the new one could be added to."

    class Settings(Section):
        pass

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {}

    def targets(self, settings: Any) -> tuple[str, ...]:
        return VALUES

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        return Kept()

    def count(self, outputs: int, inputs: int, settings: Any) -> int:
        return outputs


METHOD = Beft()
