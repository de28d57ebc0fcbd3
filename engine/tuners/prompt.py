"""Prompt tuning: vectors in front of every text learn, nothing else (Lester et al. 2021, arXiv 2104.08691)."""

from __future__ import annotations

from engine.methods.prompt_tuner import PromptTuner, Worded


class Prompt(PromptTuner):
    name = "prompt"
    title = "Prompt tuning"
    help = "The model stays as it is; a handful of made-up words in front of every text learn."
    choose = (
        "Choose it for large models, which follow a prompt well; small ones learn little. The file is tiny, and "
        "each text gets that much longer."
    )
    paper = "https://arxiv.org/abs/2104.08691"
    order = 50
    base_rate = 1e-1
    starts = "soft_prompt_start"

    class Settings(Worded):
        pass


METHOD = Prompt()
