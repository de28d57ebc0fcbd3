"""Reading text with words hidden, which are learned from what stands on both sides: `text` of models that only read."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases import architecture
from engine.bases.models import ModelFacts
from engine.data.example import Example
from engine.errors import ModelError
from engine.judging.scores import Scores
from engine.methods.job import Job, Losses, Report
from engine.methods.objective import Objective
from engine.methods.pooling import FOLDER
from engine.scripts.masked_script import script, words_of
from engine.texts import general, masking
from engine.texts.tokenizer import read_json
from engine.texts.tokens import Encoded, Tokens

if TYPE_CHECKING:
    import torch
    from torch import nn

FIXED_SHARE = 0.15
"""Of the tokens of held-out text; whole words, whatever is hidden while it learns, so that runs can be compared."""
FIXED = "held out"
"""In place of a seed and a pass, where the same words are hidden each time."""
NEW_HEAD = "'Begin with a new head' (objective.new_head)"


class MaskedObjective(Objective):
    """Abstract: who inherits it says how it is called and has `mixed_in`."""

    architectures = frozenset({"encoder"})
    gives = frozenset({"gradients", "trainable base"})
    main_metric = "bits_per_hidden_byte"
    new_head_rate = 1e-3

    def scored_beside(self, settings: Any) -> list[Example]:
        return general.meter()

    def settled(self, settings: Any, model_folder: Path, examples: list[Example]) -> Any:
        if Tokens.load(model_folder).mask_id is None:
            raise ModelError("This model's tokenizer has no mask token.", "Choose another model, or save it with one.")
        return settings

    def remarks(self, settings: Any) -> list[str]:
        what = "of whole words" if settings.whole_words else "each by itself"
        shares = f"{100 * settings.masked_share:g}", f"{100 * FIXED_SHARE:g}"
        told = [f"{shares[0]} % of the tokens are hidden, {what}, other ones in each pass."]
        told.append(f"Held-out text always has the same {shares[1]} % hidden, whole words.")
        if settings.new_head:
            told.append(
                "The head that guesses words begins anew and learns: it shares the model's word embeddings, and all "
                "else it knows comes from this text. Before training it can only guess by chance."
            )
        return told

    def head_parameters(self, facts: ModelFacts, classes: int) -> int:
        return 0 if facts.has_mlm_head else architecture.new_mlm_head(facts.config)

    def beside_parameters(self, facts: ModelFacts) -> int:
        return facts.mlm_head_parameters

    def scores_words(self, facts: ModelFacts) -> bool:
        return True

    def leaves_words(self, facts: ModelFacts) -> int | None:
        return self.beside_parameters(facts) or self.head_parameters(facts, 0)

    def rate_of_head(self, settings: Any) -> float | None:
        return self.new_head_rate if settings.new_head else None

    def encode(self, example: Example, tokens: Tokens, settings: Any, max_tokens: int) -> Encoded:
        """With those tokens learned that are hidden in held-out text; in each pass of training others are."""
        encoded = tokens.encode_words(example.text, max_tokens)
        share, whole = self._hidden(example, settings)
        at = set(masking.places(encoded.words, share, whole, masking.draw(FIXED, *encoded.ids)))
        learned = [place in at for place in range(len(encoded.ids))]
        return Encoded(encoded.ids, learned, encoded.full_length, words=encoded.words)

    def load(self, job: Job) -> nn.Module:
        from engine.compute.masked import load_masked

        return load_masked(job, new_head=job.objective_settings.new_head)

    def backbone(self, model: nn.Module) -> nn.Module:
        return model.backbone

    def set_backbone(self, model: nn.Module, backbone: nn.Module) -> nn.Module:
        model.backbone = backbone
        model.tie()
        return model

    def head(self, model: nn.Module) -> dict[str, nn.Parameter]:
        from engine.compute.masked import own_parameters

        return own_parameters(model) if model.head_learns else {}

    def trainer(self) -> tuple[type, type, dict[str, Any]]:
        from transformers import Trainer, TrainingArguments

        return Trainer, TrainingArguments, {}

    def script(self, job: Job) -> str:
        return script(job)

    def row(self, job: Job, example: Example, encoded: Encoded) -> dict[str, Any]:
        """As a held-out row is read: what is hidden stands as the mask. Rows to learn from hold what `drawn` needs."""
        from engine.compute import tasks

        mask = job.tokens.mask_id or 0
        row: dict[str, Any] = {
            "input_ids": [mask if own else one for one, own in zip(encoded.ids, encoded.learned, strict=True)],
            "labels": [one if own else -100 for one, own in zip(encoded.ids, encoded.learned, strict=True)],
            **tasks.noted(job, example),
        }
        return row | {"ids": encoded.ids, "words": encoded.words} if example.split == "train" else row

    def drawn(self, job: Job, rows: list[dict[str, Any]], epoch: int) -> list[dict[str, Any]]:
        return [self._drawn(job, row, epoch) if "words" in row else row for row in rows]

    def batch(self, job: Job, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        from engine.compute.masked import padded

        return padded(rows, job.tokens.pad_id or 0)

    def losses(self, job: Job) -> Losses:
        from engine.compute.masked import hidden_losses
        from engine.compute.tasks import told

        return told(job, hidden_losses)

    def score(self, job: Job, model: nn.Module, rows: list[Example], report: Report) -> Scores:
        from engine.compute.masked import HOW
        from engine.compute.reading import scores

        return scores(job, model, rows, self.scored_beside(job.objective_settings), report, HOW)

    def save(self, job: Job, model: nn.Module, folder: Path) -> None:
        from engine.compute.masked import save

        settings = job.objective_settings
        about = {
            "masked_share": settings.masked_share,
            "whole_words": settings.whole_words,
            "held_out_share": FIXED_SHARE,
            "head_learned": bool(model.head_learns),
        }
        save(model, about, folder)
        if (job.model_folder / FOLDER).is_dir() and not (folder / FOLDER).exists():
            shutil.copytree(job.model_folder / FOLDER, folder / FOLDER)

    def restore(self, model: nn.Module, folder: Path) -> None:
        from engine.compute.masked import restore

        restore(model, folder)

    def take_up(self, job: Job, model: nn.Module) -> None:
        if job.start is not None and job.goes_on:
            self.restore(model, job.start)

    def _hidden(self, example: Example, settings: Any) -> tuple[float, bool]:
        if example.split == "train":
            return settings.masked_share, settings.whole_words
        return FIXED_SHARE, True

    def _drawn(self, job: Job, row: dict[str, Any], epoch: int) -> dict[str, Any]:
        settings, tokens, ids = job.objective_settings, job.tokens, row["ids"]
        chance = masking.draw(job.training.seed, epoch, *ids)
        at = masking.places(row["words"], settings.masked_share, settings.whole_words, chance)
        labels = [-100] * len(ids)
        for place in at:
            labels[place] = ids[place]
        read = masking.hidden(ids, at, tokens.mask_id or 0, words_of(job), tokens.special_ids, chance)
        return {**row, "input_ids": read, "labels": labels}


@lru_cache(maxsize=64)
def only_reads(model_folder: Path) -> bool:
    """Whether the model in a folder is one that guesses hidden words, and does not write."""
    return architecture.kind(read_json(model_folder / "config.json")) == "encoder"


def no_head(title: str, facts: ModelFacts) -> str:
    """Why a model without a head that guesses words is not simply given one."""
    return (
        f"{title} needs a head that guesses hidden words; the files of {facts.id} hold none. {NEW_HEAD} makes one, "
        "which knows no words and has to learn them from your text."
    )
