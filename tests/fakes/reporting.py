"""Weights & Biases, MLflow and trackio as far as transformers' callbacks speak to them; they keep what they are told."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Told:
    """What a program was told: `begun`, `figures` in their order, and whether it was ended."""

    def __init__(self) -> None:
        self.begun: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.figures: list[dict[str, Any]] = []
        self.ended = False
        self.breaks_at = 0
        """Number of the telling at which it breaks; 0 for never."""

    def begin(self, **given: Any) -> None:
        self.begun = given
        self.environment = dict(os.environ)

    def tell(self, figures: dict[str, Any], **given: Any) -> None:
        if self.breaks_at and len(self.figures) + 1 >= self.breaks_at:
            raise ConnectionError("no network")
        self.figures.append({**figures, **given})

    def end(self, *_: Any) -> None:
        self.ended = True

    def series(self, name: str) -> list[float]:
        return [figures[name] for figures in self.figures if name in figures]


def wandb(patch: pytest.MonkeyPatch) -> Told:
    told = Told()
    module = _module(patch, "wandb", run=None)

    def init(**given: Any) -> None:
        told.begin(**given)
        module.__dict__["run"] = SimpleNamespace(_label=lambda **_: None, summary={}, id="1")

    config_util = _module(patch, "wandb.sdk.lib.config_util", ConfigError=RuntimeError)
    _module(patch, "wandb.sdk")
    _module(patch, "wandb.sdk.lib", config_util=config_util)
    module.__dict__.update(
        init=init, config=_Config(), log=told.tell, finish=told.end, define_metric=lambda *_, **__: None
    )
    return told


def trackio(patch: pytest.MonkeyPatch) -> Told:
    told = Told()
    space = SimpleNamespace(get=lambda: None)
    _module(
        patch,
        "trackio",
        init=told.begin,
        log=told.tell,
        finish=told.end,
        config=_Config(),
        context_vars=SimpleNamespace(current_space_id=space, current_project=space),
    )
    return told


def mlflow(patch: pytest.MonkeyPatch) -> Told:
    told = Told()
    active: list[Any] = []

    def start(**given: Any) -> None:
        told.begin(**given, uri=os.environ.get("MLFLOW_TRACKING_URI"))
        active.append(SimpleNamespace(info=SimpleNamespace(run_id="1")))

    def end() -> None:
        active.clear()
        told.end()

    limits = SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=250, MAX_PARAMS_TAGS_PER_BATCH=100))
    _module(
        patch,
        "mlflow",
        __version__="3.0.0",
        utils=limits,
        is_tracking_uri_set=lambda: False,
        set_tracking_uri=lambda uri: None,
        active_run=lambda: active[0] if active else None,
        set_experiment=lambda name: None,
        start_run=start,
        end_run=end,
        log_params=lambda values, **_: None,
        log_metrics=lambda metrics, step, **_: told.tell(metrics, step=step),
    )
    return told


def _module(patch: pytest.MonkeyPatch, name: str, **parts: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(parts)
    patch.setitem(sys.modules, name, module)
    return module


class _Config(dict[str, Any]):
    def update(self, values: Any, allow_val_change: bool = False) -> None:  # type: ignore[override]  # as theirs
        super().update(values)
