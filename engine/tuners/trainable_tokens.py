"""Only the embeddings of chosen tokens learn, under a frozen body (as in Artetxe et al. 2019, arXiv 1910.11856)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases.models import ModelFacts
from engine.errors import SettingError
from engine.methods.peft_tuner import PeftTuner
from engine.planning.memory import Kept
from engine.settings import Section, setting

if TYPE_CHECKING:
    from torch import nn

EMBEDDINGS = ("embed_tokens", "word_embeddings", "wte", "embed_in")
"""Last names of the module that holds the embeddings, over the usual families."""


class TrainableTokens(PeftTuner):
    name = "trainable-tokens"
    title = "Chosen tokens only"
    help = "Only the embeddings of the words that you name learn; everything else stays as it is."
    choose = (
        "Choose it for words that mean something of their own in your data, and for markers that the model hardly "
        "saw. The result is tiny."
    )
    paper = "https://arxiv.org/abs/1910.11856"
    idea = "some layers"
    family = "Parts of layers"
    order = 29
    base_rate = 5e-3
    config_class = "TrainableTokensConfig"

    class Settings(Section):
        tokens: str = setting(
            "",
            "Words that learn",
            "With spaces between them, such as: refund <|im_end|>. Each has to be one token of the model.",
        )

    class Settled(Settings):
        ids: tuple[int, ...]

    def settled(self, settings: Any, model_folder: Path) -> Any:
        from engine.texts.tokens import Tokens

        words = settings.tokens.split()
        if not words:
            raise SettingError(
                ["Words that learn (tuner.tokens) is empty, so that nothing would learn."], "Name one or more."
            )
        tokens = Tokens.load(model_folder)
        ids = {word: tokens.of_word(word) for word in words}
        problems = [_several(word, tokens) for word in words if not ids[word]]
        if problems:
            raise SettingError(problems, "Name tokens that the model has, or leave these words out.")
        every = sorted({one for found in ids.values() for one in found})
        return self.Settled(tokens=settings.tokens, ids=tuple(every))

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if _embedding(facts) is not None:
            return None
        return f"{facts.id} holds its words' embeddings under a name that {self.title} does not know; choose LoRA."

    def learns(self, facts: ModelFacts, settings: Any) -> dict[str, int]:
        name = _embedding(facts)
        # Until the model's files are there, one token a word is a good guess.
        count = len(settings.ids) if isinstance(settings, self.Settled) else len(settings.tokens.split())
        return {name: count * facts.tensors[name].shape[1]} if name and count else {}

    def saved_parameters(self, facts: ModelFacts, settings: Any) -> int:
        # Once more for a language head that shares the embeddings.
        return (2 if facts.tied else 1) * self.trainable_parameters(facts, settings)

    def kept(self, facts: ModelFacts, settings: Any, width: int) -> Kept:
        # All embeddings are put together anew with the changed ones; where the language head shares them they are kept
        # for its gradient, which is as large.
        found = _embedding(facts)
        return Kept(step=2.0 * width * facts.tensors[found].count if found and facts.tied else 0.0)

    def targets(self, settings: Any) -> tuple[str, ...]:
        return EMBEDDINGS

    def arguments(self, settings: Any) -> dict[str, Any]:
        return {"token_indices": list(settings.ids)}

    def orientation(self, backbone: nn.Module) -> dict[str, Any]:
        return {}


def _embedding(facts: ModelFacts) -> str | None:
    ends = tuple(f"{name}.weight" for name in EMBEDDINGS)
    return next((name for name in facts.tensors if name.endswith(ends)), None)


def _several(word: str, tokens: Any) -> str:
    pieces = [tokens.decode([one], skip_special=False).strip() for one in tokens.encode_text(word, 1000).ids]
    shown = ", ".join(repr(piece) for piece in pieces if piece)
    return f"Words that learn (tuner.tokens): {word!r} is not one token of this model, which writes it as {shown}."


METHOD = TrainableTokens()
