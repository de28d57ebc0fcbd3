"""P-tuning: vectors in front of every text, made by a small network that learns (Liu et al. 2021, arXiv 2103.10385)."""

from __future__ import annotations

from typing import Any, Literal

from engine.bases.models import ModelFacts
from engine.methods.prompt_tuner import PromptTuner, Virtual
from engine.settings import setting


class PTuning(PromptTuner):
    name = "p-tuning"
    title = "P-tuning"
    help = "As prompt tuning, but a small network makes the made-up words while they learn; only the words are kept."
    choose = "Choose it where prompt tuning does not get going. It costs a little more memory while it learns."
    paper = "https://arxiv.org/abs/2103.10385"
    order = 54
    once = "The network that made its words is not kept; go on with Prompt tuning from the base, or train anew."
    base_rate = 3e-3
    rate_beside_head = 4e-4
    starts = "prompt_encoder"

    class Settings(Virtual):
        encoder: Literal["mlp", "lstm"] = setting(
            "mlp",
            "Network",
            "mlp: two layers. lstm: an LSTM that reads the words both ways before them, as in the paper; larger.",
            advanced=True,
        )
        hidden: int | None = setting(
            None, "Width of the network", "Empty means the model's own.", advanced=True, ge=1, le=65536
        )

    def count(self, facts: ModelFacts, settings: Any) -> int:
        width = self.width(facts)
        hidden = settings.hidden or width
        inputs, count = width, settings.tokens * width
        if settings.encoder == "lstm":
            # Two layers, two ways; four gates each with two biases.
            count += 2 * 4 * hidden * (width + hidden + 2) + 2 * 4 * hidden * (2 * hidden + hidden + 2)
            inputs = 2 * hidden
        return int(count + (inputs + 1) * hidden + (hidden + 1) * width)

    def saved_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return int(settings.tokens * self.width(facts))


METHOD = PTuning()
