"""Several processes that learn together: what one learns, two learn; what one begins, two go on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.compute import shares
from engine.errors import SettingError
from engine.home import CHECKOUT
from engine.machine import Gpu, Machine
from engine.planning.jobs import open_job
from engine.runs.worker import main as work
from engine.specs.spec import RunSpec
from tests.fakes import models, runs

GB = 10**9


def spec(base: Path, count: int, objective: Any = "chat", tuner: str = "lora", **training: Any) -> RunSpec:
    made = runs.spec(base, objective, tuner, **{"max_steps": 6, "batch_size": 4, "precision": "float32", **training})
    return RunSpec.parse({**made.as_dict(), "launch": {"processes": count, "threads": 1}})


def helped(folder: Path) -> str:
    """What the helper said, for a test that failed."""
    log = folder / "helper-1.log"
    return log.read_text(encoding="utf-8")[-3000:] if log.exists() else ""


def told(folder: Path) -> dict[int, float]:
    found = [event for event in runs.events(folder) if event["type"] == "progress" and event.get("loss") is not None]
    return {event["step"]: event["loss"] for event in found}


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(
        max(folder.glob("checkpoints/step-*/trainable.safetensors"), key=lambda file: file.stat().st_mtime)
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("tiny") / "base")


@pytest.mark.parametrize(
    ("objective", "tuner", "batch"),
    [
        ("chat", "full", 6),  # 20 rows: the last batch of an epoch holds two, of which each has one
        ({"name": "classify", "kind": "several labels"}, "lora", 18),  # ... and one for the first alone
    ],
)
def test_two_processes_learn_what_one_does(objective: Any, tuner: str, batch: int, base: Path, tmp_path: Path) -> None:
    import torch

    found = []
    for count in (1, 2):
        made = spec(base, count, objective, tuner, batch_size=batch)
        kind = "several labels" if isinstance(objective, dict) else None
        rows = runs.examples("labelled", kind) if kind else None
        folder = runs.folder(tmp_path / str(count), made, rows)
        assert work(folder) == 0, helped(folder)
        assert open_job(folder, lambda text: None).plan.processes == count
        found.append((told(folder), weights(folder), runs.events(folder)))
    (alone, one, _), (together, two, events) = found
    both = alone.keys() & together.keys()
    assert max(alone) == max(together) in both and all(
        alone[step] == pytest.approx(together[step], rel=1e-4) for step in both
    )
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    assert any("2 processes learn together" in event["text"] for event in events if event["type"] == "notice")


def test_a_run_that_one_began_goes_on_with_two_and_the_other_way_round(base: Path, tmp_path: Path) -> None:
    import torch

    long = {"max_steps": 120, "epochs": 1000.0}
    whole = runs.folder(tmp_path / "whole", spec(base, 1, **long))
    assert work(whole) == 0
    for begun in (1, 2):
        folder = runs.folder(tmp_path / str(begun), spec(base, begun, **long))
        stopper = threading.Thread(target=stop_once_begun, args=(folder,))
        stopper.start()
        assert work(folder) == 3, helped(folder)
        stopper.join()
        assert list(folder.glob("checkpoints/step-*"))
        (folder / "stop").unlink()
        spec(base, 3 - begun, **long).save(folder / "spec.yaml")
        assert work(folder) == 0, helped(folder)
        notices = [event["text"] for event in runs.events(folder) if event["type"] == "notice"]
        assert any(text.startswith("Going on from the checkpoint of step") for text in notices)
        ours, theirs = weights(folder), weights(whole)
        zeros = {name: torch.zeros_like(one) for name, one in theirs.items()}
        # Sums in another order differ in their last digits, which Adam makes more of with every step.
        apart, size = ([(one[n] - two[n]).norm() for n in theirs] for one, two in ((ours, theirs), (theirs, zeros)))
        assert torch.stack(apart).norm() < 0.01 * torch.stack(size).norm()


def stop_once_begun(folder: Path) -> None:
    end = time.monotonic() + 240
    while not ((folder / "events.jsonl").exists() and told(folder)) and time.monotonic() < end:
        time.sleep(0.05)
    (folder / "stop").touch()


@contextmanager
def begun_run(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has made its first steps."""
    command = [sys.executable, "-m", "engine.runs.worker", str(folder)]
    with open(folder / "worker.log", "ab") as log:
        child = subprocess.Popen(command, cwd=CHECKOUT, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 240
        while not (folder / "events.jsonl").exists() or not told(folder):
            assert time.monotonic() < end and child.poll() is None, (folder / "worker.log").read_text("utf-8")[-3000:]
            time.sleep(0.05)
        yield child
    finally:
        child.kill()
        child.wait()


def test_a_helper_that_is_killed_ends_the_run_with_the_reason(base: Path, tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", spec(base, 2, max_steps=100_000, epochs=1000.0))
    with begun_run(folder) as child:
        (helper,) = _children(child.pid)
        os.kill(helper, signal.SIGKILL)
        assert child.wait(timeout=120) == 2
    last = runs.events(folder)[-1]
    assert last["type"] == "failed" and "learn together ended (signal 9)" in last["problem"]


def test_helpers_end_with_the_worker(base: Path, tmp_path: Path) -> None:
    import psutil

    folder = runs.folder(tmp_path / "run", spec(base, 2, max_steps=100_000, epochs=1000.0))
    with begun_run(folder) as child:
        (helper,) = _children(child.pid)
    end = time.monotonic() + 60
    while psutil.pid_exists(helper) and psutil.Process(helper).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.1)


def _children(pid: int) -> list[int]:
    import psutil

    found = psutil.Process(pid).children()
    return [one.pid for one in found if "engine.compute.shares" in " ".join(one.cmdline())]


def test_what_cannot_be_shared_is_refused_with_the_reason(base: Path, tmp_path: Path) -> None:
    for number, (made, reason) in enumerate(
        [
            (spec(base, 3, batch_size=4), "has no GPU and 2 cores"),
            (spec(base, 2), "this machine has one GPU"),
            (spec(base, 2, batch_size=5), "can't be shared out equally"),
        ]
    ):
        card = Gpu("card", 24 * GB, 22 * GB, 8.0)
        here = Machine("cuda" if number else "cpu", 2, 64 * GB, 60 * GB, 100 * GB, False, (card,) * number)
        folder = runs.folder(tmp_path / str(number), made)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("engine.machine.inspect", lambda here=here: here)
            with pytest.raises(SettingError, match=reason):
                open_job(folder, lambda text: None)


def test_alone_nothing_is_sent() -> None:
    import torch

    share = shares.ALONE
    assert share.leads and share.of([1, 2, 3]) == [1, 2, 3] and share.told(1.0, 2.0) == [1.0, 2.0]
    value = torch.tensor(3.0)
    assert share.total(value) is value
    assert shares.Share(1, 2).of([1, 2, 3]) == [2] and shares.Share(1, 2).of([1]) == []


def test_gradients_go_in_parcels_of_one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(shares, "AT_ONCE", 10)
    sizes = [(4, torch.float32), (5, torch.float32), (2, torch.float32), (3, torch.float16), (30, torch.float16)]
    parcels = list(shares._parcels([torch.zeros(size, dtype=dtype) for size, dtype in sizes]))
    assert [[one.numel() for one in parcel] for parcel in parcels] == [[4, 5], [2], [3], [30]]
