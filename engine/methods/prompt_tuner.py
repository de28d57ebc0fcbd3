"""Tuners whose virtual tokens stand before every text."""

from __future__ import annotations

from typing import Any

from engine.bases import depth
from engine.bases.architecture import first
from engine.bases.models import ModelFacts
from engine.methods.attached_tuner import AttachedTuner
from engine.settings import Section, setting

FAMILY = "Soft prompts"
UNMERGEABLE = "What learned stands before the text, and is no part of the base model's weights."


class Virtual(Section):
    """Settings of what stands before the text."""

    tokens: int = setting(
        20,
        "Virtual tokens",
        "How many stand before each text. More can learn more, and cost more time.",
        ge=1,
        le=1000,
    )


class Worded(Virtual):
    text: str = setting(
        "",
        "Begins as",
        "Words that they begin as, such as a prompt that works already: repeated or cut to their number. Empty means "
        "words by chance.",
    )


class PromptTuner(AttachedTuner):
    idea = "only the input"
    family = FAMILY
    unmergeable = UNMERGEABLE
    part = "soft_prompt"
    packs = False

    def virtual_tokens(self, settings: Any) -> int:
        return int(settings.tokens)

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        return {depth.INPUT: self.count(facts, settings)}

    def count(self, facts: ModelFacts, settings: Any) -> int:
        """Numbers that learn: those of the virtual tokens."""
        return int(settings.tokens * self.width(facts))

    def width(self, facts: ModelFacts) -> int:
        """Of the vectors: where embeddings are narrower than the model, they are, too."""
        return first(facts.config, "embedding_size", "word_embed_proj_dim") or facts.hidden

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if facts.kind == "encoder" and not any(name.startswith("embeddings.") for name in facts.tensors):
            return f"{facts.id} names its embeddings in a way that {self.title} does not know; choose LoRA."
        return None
