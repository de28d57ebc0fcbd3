"""What another run added, put where a run's own additions would begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def take_up(model: Any, file: Path) -> None:
    """model: as a tuner gives it, at its beginning. file: what a tuner of the same settings saved.

    Raises ValueError where names or shapes are not the same.
    """
    saved = load_file(file)
    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict

        unknown = set_peft_model_state_dict(model, saved).unexpected_keys
        if unknown:
            raise ValueError(f"{unknown[0]} has no place")
        return
    own = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name in saved.keys() | own.keys():
        if name not in saved or name not in own or saved[name].shape != own[name].shape:
            raise ValueError(f"{name} is not the same")
    with torch.no_grad():
        for name, tensor in saved.items():
            own[name].copy_(tensor)
