"""Tuners that let some of the base's own parameters learn: choosing them, and keeping only those that changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engine.errors import ModelError

CHANGED_FILE = "changed.safetensors"


def learn(model: nn.Module, chosen: Callable[[str], bool]) -> nn.Module:
    """The model with only the parameters trainable whose names are chosen."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen(name))
    _widen_norms(model)
    return model


def save_changed(model: nn.Module, folder: Path) -> None:
    """Write the trainable parameters by their names; the others are the base's."""
    changed = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(changed, folder / CHANGED_FILE)
    model.config.save_pretrained(folder)


def restore_changed(model: nn.Module, folder: Path) -> nn.Module:
    """Put saved parameters in the place of the base's. Raises ModelError where they don't belong to it."""
    try:
        changed = load_file(folder / CHANGED_FILE)
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{CHANGED_FILE} can't be read: {error}.", "Train the run again.") from None
    own = dict(model.named_parameters())
    unknown = sorted(changed.keys() - own.keys())
    if unknown:
        raise ModelError(f"The result holds {unknown[0]}, which this base model lacks.", "Use the base of the run.")
    with torch.no_grad():
        for name, tensor in changed.items():
            # In its own width: a float32 value does not fit a 16-bit base.
            own[name].data = tensor.to(own[name].device)
            own[name].requires_grad_(True)
    _widen_norms(model)
    return model.requires_grad_(False)


def _widen_norms(model: nn.Module) -> None:
    """A layer norm's kernel wants factor and bias in one width: float32 where one of them learns."""
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if "Norm" in type(module).__name__ and any(parameter.requires_grad for parameter in own):
            module.float()


class Unfreezing:
    """Gradual unfreezing: layers join from the top, one after another, over the first half of the run.

    The optimizer holds all of them from the start (one that was made without them would never move them); the
    gradients of those that have not joined are dropped as soon as they are there, and AdamW passes over parameters
    without a gradient.
    """

    def __init__(self, model: nn.Module, place: Callable[[str], int | None], layers: int) -> None:
        self.layers = layers
        self.open = 1
        """How many layers learn, counted from the top."""
        for name, parameter in model.named_parameters():
            layer = place(name)
            if parameter.requires_grad and layer is not None:
                parameter.register_post_accumulate_grad_hook(self._gate(layers - 1 - layer))

    def step_begins(self, step: int, total: int) -> None:
        self.open = min(self.layers, 1 + step * 2 * self.layers // max(1, total))

    def _gate(self, joins: int) -> Callable[[torch.Tensor], None]:
        def gate(parameter: torch.Tensor) -> None:
            if joins >= self.open:
                parameter.grad = None

        return gate
