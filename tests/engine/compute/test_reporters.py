"""Programs that people watch their runs with get the run's figures, in the run's folder, and can't break it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import reporters
from engine.errors import SettingError
from engine.events import Evaluation, Finished, Notice, Progress, Writer, read
from engine.planning.jobs import open_job
from engine.specs.spec import RunSpec
from tests.fakes import models, reporting, runs


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("tiny") / "decoder")


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """A worker may change its environment; these tests are one process with the others."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def trained(tiny: Path, place: Path, *names: str) -> list[Any]:
    """Events of a run that reports to these."""
    from engine.compute.report import Reporter
    from engine.compute.train import run

    spec = RunSpec.parse({**runs.spec(tiny, "chat", "lora").as_dict(), "output": {"reporters": list(names)}})
    folder = runs.folder(place / "20260101-000000-abcdefgh", spec)
    with Writer(folder / "events.jsonl") as writer:
        assert run(open_job(folder, lambda text: None), Reporter(folder, writer), spec.output)
    return read(folder / "events.jsonl")[0]


def losses(events: list[Any]) -> dict[int, float]:
    return {event.step: event.loss for event in events if isinstance(event, Progress) and event.loss is not None}


def held(events: list[Any]) -> list[float]:
    return [event.metrics["loss"] for event in events if isinstance(event, Evaluation)]


def test_tensorboard_gets_the_figures_of_each_step_and_check(tiny: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = trained(tiny, tmp_path, "tensorboard")
    read_back = EventAccumulator(str(tmp_path / "20260101-000000-abcdefgh" / "reports" / "tensorboard"))
    read_back.Reload()
    steps = {point.step: point.value for point in read_back.Scalars("train/loss")}
    assert sorted(steps) == [1, 2, 3, 4]
    for step, loss in losses(events).items():
        assert steps[step] == pytest.approx(loss, abs=1e-4)
    assert [point.value for point in read_back.Scalars("eval/loss")] == pytest.approx(held(events), abs=1e-4)


FAKES = {"wandb": reporting.wandb, "trackio": reporting.trackio, "mlflow": reporting.mlflow}
LOSS = {"wandb": ("train/loss", "eval/loss"), "trackio": ("train/loss", "eval/loss"), "mlflow": ("loss", "eval_loss")}


@pytest.mark.parametrize("name", FAKES)
def test_others_get_the_same_figures(name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = FAKES[name](monkeypatch)
    events = trained(tiny, tmp_path, name)
    train, check = LOSS[name]
    assert len(told.series(train)) == 4
    assert told.series(check) == pytest.approx(held(events))
    assert not [event for event in events if isinstance(event, Notice) and event.level == "warning"]


def test_reports_lie_in_the_runs_folder_and_are_sent_to_nobody(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = reporting.wandb(monkeypatch)
    reporting.mlflow(monkeypatch)
    reporting.trackio(monkeypatch)
    trained(tiny, tmp_path, "wandb", "mlflow", "trackio")
    place = str(tmp_path / "20260101-000000-abcdefgh" / "reports")
    assert told.environment["WANDB_MODE"] == "offline" and told.environment["WANDB_DIR"].startswith(place)
    assert told.environment["TRACKIO_DIR"].startswith(place)
    assert told.environment["MLFLOW_TRACKING_URI"].startswith(f"sqlite:///{place}")


def test_what_the_persons_own_environment_says_stays(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    told = reporting.wandb(monkeypatch)
    trained(tiny, tmp_path, "wandb")
    assert told.environment["WANDB_MODE"] == "online"


def test_a_visitors_run_gets_nothing_of_the_hosts(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (
        ("TUNESMITH_VISITOR", "1"),
        ("WANDB_MODE", "online"),
        ("WANDB_BASE_URL", "https://wandb.example.com"),
        ("MLFLOW_TRACKING_URI", "https://mlflow.example.com"),
        ("TRACKIO_SPACE_ID", "host/board"),
    ):
        monkeypatch.setenv(variable, value)
    told = reporting.wandb(monkeypatch)
    trained(tiny, tmp_path, "wandb")
    assert told.environment["WANDB_MODE"] == "offline"
    assert not {"WANDB_BASE_URL", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID"} & told.environment.keys()


def test_a_reporter_that_breaks_is_let_go_and_the_run_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, other = reporting.wandb(monkeypatch), reporting.trackio(monkeypatch)
    told.breaks_at = 2
    events = trained(tiny, tmp_path, "wandb", "trackio")
    said = [event.text for event in events if isinstance(event, Notice) and event.level == "warning"]
    assert said == [
        "Weights & Biases gets no more figures of this run; it broke (ConnectionError: no network). The run goes on."
    ]
    assert isinstance(events[-1], Finished)
    assert len(told.figures) == 1 and len(other.series("train/loss")) == 4


def test_one_that_is_not_installed_is_refused_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporters, "_is_there", lambda module: module == "tensorboard")
    reporters.require(["tensorboard"])
    with pytest.raises(SettingError) as caught:
        reporters.require(["wandb", "tensorboard", "mlflow"])
    assert caught.value.problems == [
        "Weights & Biases (output.reporters) is not installed.",
        "MLflow (output.reporters) is not installed.",
    ]
    assert "pip install wandb mlflow." in caught.value.fix


def test_a_run_with_one_that_is_not_installed_is_not_even_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.runs import store
    from tests.fakes.living import prepared

    monkeypatch.setattr(reporters, "_is_there", lambda module: False)
    spec = RunSpec.parse({**runs.spec(Path("/nowhere"), "chat", "lora").as_dict(), "output": {"reporters": ["wandb"]}})
    with pytest.raises(SettingError, match="Weights & Biases"):
        store.create(spec, prepared())
    assert store.listed() == []


def test_the_settings_of_a_run_name_each_reporter_once() -> None:
    spec = RunSpec.parse(
        {"model": {"id": "m"}, "data": [{"source": "d"}], "output": {"reporters": ["wandb", "mlflow", "wandb"]}}
    )
    assert json.loads(json.dumps(spec.as_dict()))["output"]["reporters"] == ["wandb", "mlflow"]
