"""Tuners that put parts of our own into a model: attached by names, kept in a small file, loadable without us.

The modules that compute them hold no word of the rest of the engine, and their source stands in scripts and model cards
as well, so that all of them compute the same.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine.bases.parts import config_file, source, weights_file
from engine.errors import ModelError
from engine.methods.tuner import WIDTHS, Tuner

if TYPE_CHECKING:
    from torch import nn


class AttachedTuner(Tuner):
    """Subclasses name the part, and a module of `engine.compute` that begins it and says what is kept.

    Its `start(model, settings, words)` attaches the part with what it begins as, and returns the config for `attach`;
    `words` makes token ids of a text. Its `added_weights(model)` gives what `attach` needs afterwards, by name.
    """

    may_differ = frozenset({"dropout", "text"})
    loads = WIDTHS
    part: ClassVar[str]
    starts: ClassVar[str]
    further: ClassVar[tuple[str, ...]] = ()
    """Further modules of the engine that `start` uses."""

    @property
    def added_file(self) -> str:  # type: ignore[override]
        return weights_file(self.part)

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        import torch
        from transformers import AutoTokenizer

        def words(text: str) -> list[int]:
            tokenizer = AutoTokenizer.from_pretrained(backbone.name_or_path, local_files_only=True)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        backbone.requires_grad_(False)
        torch.manual_seed(seed)
        backbone.attached = self._module(self.starts).start(backbone, self.given(settings), words)
        return backbone

    def given(self, settings: Any) -> dict[str, Any]:
        """What `start` is given of the settings."""
        return dict(settings.model_dump())

    def script(self, settings: Any) -> str:
        modules = (*self.further, f"compute.{self.part}", f"compute.{self.starts}")
        sources = "\n\n\n".join(source(module) for module in modules)
        return f"""
{sources}


def words(text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def tune(backbone):
    backbone.requires_grad_(False)
    torch.manual_seed(SEED)
    config = start(backbone, {self.given(settings)!r}, words)

    def save_pretrained(folder):
        from safetensors.torch import save_file

        Path(folder).mkdir(exist_ok=True)
        save_file(added_weights(backbone), f"{{folder}}/{weights_file(self.part)}")
        Path(folder, {config_file(self.part)!r}).write_text(json.dumps(config, indent=1))

    backbone.save_pretrained = save_pretrained
    return backbone

"""

    def save(self, backbone: nn.Module, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file(self._module(self.starts).added_weights(backbone), folder / weights_file(self.part))
        (folder / config_file(self.part)).write_text(json.dumps(backbone.attached, indent=1), encoding="utf-8")

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from safetensors.torch import load_file

        try:
            config = json.loads((folder / config_file(self.part)).read_text(encoding="utf-8"))
            saved = load_file(folder / weights_file(self.part))
            backbone = self._module(self.part).attach(backbone, config)
        except (OSError, RuntimeError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{weights_file(self.part)} can't be used: {error}.", "Train the run again.") from None
        unknown = backbone.load_state_dict(saved, strict=False).unexpected_keys
        if unknown:
            raise ModelError(f"The result holds {unknown[0]}, which this base model lacks.", "Use the base of the run.")
        return backbone.requires_grad_(False)

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"engine.compute.{name}")
