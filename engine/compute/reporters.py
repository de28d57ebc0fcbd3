"""Feeds a run's figures to programs that people already watch their runs with, by transformers' own callbacks.

What they write lies in the run's folder (`reports/`) and is sent to nobody, unless the person's own environment says
otherwise (WANDB_MODE=online, MLFLOW_TRACKING_URI, TRACKIO_SPACE_ID, …). One that breaks is let go, and the run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

from engine.bases import access
from engine.compute.report import Reporter
from engine.reporters import KNOWN, Name

FOLDER = "reports"
PROJECT = "tunesmith"
_PREFIXES = ("TENSORBOARD_", "TRACKIO_", "WANDB_", "MLFLOW_", "HF_MLFLOW_")


def prepare(names: Sequence[Name], folder: Path) -> None:
    """Say in this process's environment where reports go. What the person has said there already stays.

    A visitor's run gets nothing of the host's: neither a server nor a mode.
    """
    if access.is_visitors_process():
        for variable in [known for known in os.environ if known.startswith(_PREFIXES)]:
            del os.environ[variable]
    for name in names:
        place = folder / FOLDER / name
        place.mkdir(parents=True, exist_ok=True)
        for variable, value in _environment(name, place, folder.name).items():
            os.environ.setdefault(variable, value)


def _environment(name: Name, place: Path, run_id: str) -> dict[str, str]:
    if name == "tensorboard":
        return {"TENSORBOARD_LOGGING_DIR": str(place)}
    if name == "trackio":
        return {"TRACKIO_DIR": str(place)}
    if name == "mlflow":
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}", "MLFLOW_EXPERIMENT_NAME": PROJECT}
    return {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(place),
        "WANDB_PROJECT": PROJECT,
        "WANDB_RUN_ID": run_id,  # a resumed run is the same one
        "WANDB_RESUME": "allow",
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
    }


class Reports(TrainerCallback):
    """All reporters of a run as one callback of its trainer."""

    def __init__(self, names: Sequence[Name], reporter: Reporter) -> None:
        self.reporter = reporter
        self.inner: dict[Name, Any] = {}
        for name in names:
            try:
                (kind,) = get_reporting_integration_callbacks([name])
                self.inner[name] = kind()
            except Exception as error:
                self._let_go(name, error)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._pass_on("on_train_begin", args, state, control, **more)

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._pass_on("on_log", args, state, control, **more)

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._pass_on("on_save", args, state, control, **more)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._pass_on("on_train_end", args, state, control, **more)

    def _pass_on(self, event: str, *given: Any, **more: Any) -> None:
        for name, inner in list(self.inner.items()):
            try:
                getattr(inner, event)(*given, **more)
            except Exception as error:
                self._let_go(name, error)

    def _let_go(self, name: Name, error: Exception) -> None:
        self.inner.pop(name, None)
        said = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        self.reporter.notice(
            f"{KNOWN[name].title} gets no more figures of this run; it broke ({said}). The run goes on.", "warning"
        )
