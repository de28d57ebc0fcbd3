"""Programs that people already watch their runs with: which there are, which are installed. Needs no torch.

Our own events stay the truth; these are fed beside them (`engine.compute.reporters`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import SettingError

Name = Literal["tensorboard", "trackio", "wandb", "mlflow"]


@dataclass(frozen=True)
class Reporter:
    title: str
    package: str
    """What pip calls it."""
    modules: tuple[str, ...]
    """Any one of them will do."""


KNOWN: dict[Name, Reporter] = {
    "tensorboard": Reporter("TensorBoard", "tensorboard", ("tensorboard", "tensorboardX")),
    "trackio": Reporter("trackio", "trackio", ("trackio",)),
    "wandb": Reporter("Weights & Biases", "wandb", ("wandb",)),
    "mlflow": Reporter("MLflow", "mlflow", ("mlflow",)),
}


def installed() -> list[Name]:
    return [name for name, reporter in KNOWN.items() if any(map(_is_there, reporter.modules))]


def require(names: Sequence[Name]) -> None:
    """Raises SettingError for a reporter that is not installed, with the command that does it."""
    missing = [KNOWN[name] for name in names if name not in installed()]
    if missing:
        raise SettingError(
            [f"{reporter.title} (output.reporters) is not installed." for reporter in missing],
            f"Install it: pip install {' '.join(reporter.package for reporter in missing)}. Or take it out of the "
            "settings: the run's own curve and log are kept anyway.",
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False  # half removed
