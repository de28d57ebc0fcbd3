"""Real workers: killed in mid-run, resumed, refused, out of room."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.home import CHECKOUT
from engine.runs import worker
from tests.fakes import models, runs

SECONDS_AT_MOST = 120


def start(folder: Path) -> subprocess.Popen[bytes]:
    with open(folder / "worker.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.runs.worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=CHECKOUT,
            start_new_session=True,
        )


def wait_for(process: subprocess.Popen[bytes], folder: Path, seen: Any) -> None:
    """Until an event is `seen`; fails where the worker ends or takes too long before that."""
    deadline = time.monotonic() + SECONDS_AT_MOST
    while time.monotonic() < deadline:
        if (folder / "events.jsonl").exists() and any(seen(event) for event in whole_events(folder)):
            return
        assert process.poll() is None, (folder / "worker.log").read_text(encoding="utf-8")[-2000:]
        time.sleep(0.02)
    raise AssertionError("the worker did not get there in time")


def whole_events(folder: Path) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from engine.events import read

    return [{"type": event.type, **asdict(event)} for event in read(folder / "events.jsonl")[0]]


@pytest.mark.parametrize(
    ("objective", "tuner", "model"), [("chat", "lora", "decoder"), ("classify", "full", "encoder")]
)
def test_a_worker_killed_in_mid_run_goes_on_to_the_same_weights(
    objective: str, tuner: str, model: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    base = {"decoder": models.tiny_decoder, "encoder": models.tiny_encoder}[model](tmp_path / "base")
    spec = runs.spec(base, objective, tuner, max_steps=60, save_minutes=0.001, learning_rate=1e-3)
    untouched = runs.folder(tmp_path / "untouched", spec)
    assert start(untouched).wait(SECONDS_AT_MOST) == worker.FINISHED

    killed = runs.folder(tmp_path / "killed", spec)
    first = start(killed)
    wait_for(first, killed, lambda event: event["type"] == "checkpoint")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (killed / "model").exists()
    assert start(killed).wait(SECONDS_AT_MOST) == worker.FINISHED

    assert any("Going on from the checkpoint" in event.get("text", "") for event in whole_events(killed))
    name = "adapter_model.safetensors" if tuner == "lora" else "model.safetensors"
    theirs, ours = load_file(untouched / "model" / name), load_file(killed / "model" / name)
    assert theirs.keys() == ours.keys() and all(bool((theirs[key] == ours[key]).all()) for key in ours)


def test_a_stopped_worker_leaves_a_whole_checkpoint_at_its_next_step(tmp_path: Path) -> None:
    from engine.runs import checkpoints

    base = models.tiny_decoder(tmp_path / "base")
    folder = runs.folder(tmp_path / "run", runs.spec(base, "chat", "lora", max_steps=5000, save_minutes=60))
    process = start(folder)
    wait_for(process, folder, lambda event: event["type"] == "progress" and event["phase"] == "train")
    (folder / "stop").touch()
    assert process.wait(SECONDS_AT_MOST) == worker.STOPPED
    newest, skipped = checkpoints.newest_whole(folder / "checkpoints")
    assert newest is not None and not skipped


@pytest.mark.parametrize("asked", [{"model": {"load": "8bit"}}, {"training": {"optimizer": "adamw-8bit"}}])
def test_what_needs_bitsandbytes_has_it(asked: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """A worker that has no use for it goes without, which saves a good second."""
    from engine.specs.spec import RunSpec

    base = models.tiny_decoder(tmp_path / "base")
    whole = runs.spec(base, "chat", "lora", max_steps=2).as_dict()
    spec = RunSpec.parse({**whole, **{part: {**whole[part], **changed} for part, changed in asked.items()}})
    folder = runs.folder(tmp_path / "run", spec)
    assert start(folder).wait(SECONDS_AT_MOST) == worker.FINISHED, (folder / "worker.log").read_text()[-2000:]


def test_a_teacher_may_need_bitsandbytes_where_its_student_does_not(tmp_path: Path) -> None:
    """A classifier that was trained on a base of few bits is opened as it is."""
    from engine import objectives
    from engine.planning.jobs import open_job

    base = models.tiny_encoder(tmp_path / "base")
    job = open_job(runs.folder(tmp_path / "run", runs.spec(base, "classify", "lora")), lambda text: None)
    assert not worker.needs_bitsandbytes(job)
    taught = objectives.get("distill-labels")
    settings = taught.Settings(teacher="run:20260101-000000-aaaaaaaa")
    assert worker.needs_bitsandbytes(dataclasses.replace(job, objective=taught, objective_settings=settings))


def test_a_model_that_does_not_exist_is_told_in_a_failed_event(tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", runs.spec(tmp_path / "nowhere", "chat", "lora"))
    assert worker.main(folder) == worker.USER_ERROR
    failed = whole_events(folder)[-1]
    assert failed["type"] == "failed" and "nowhere" in failed["problem"] and failed["fix"]


def test_rows_that_are_cut_before_their_answers_are_refused(tmp_path: Path) -> None:
    base = models.tiny_decoder(tmp_path / "base")
    folder = runs.folder(tmp_path / "run", runs.spec(base, "chat", "lora", max_tokens=8))
    assert worker.main(folder) == worker.USER_ERROR
    assert "before the part that is learned begins" in whole_events(folder)[-1]["problem"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), worker.DISK_FULL),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), worker.DISK_FULL),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), worker.OUT_OF_MEMORY),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
            worker.OUT_OF_MEMORY,
        ),
        (MemoryError(), worker.OUT_OF_MEMORY),
        (ValueError("out of memory"), 1),
    ],
)
def test_the_kind_of_an_end_is_read_from_the_librarys_words(error: Exception, code: int) -> None:
    assert worker.code_of(error) == code


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells it otherwise")
def test_the_peak_is_the_processs_own_and_not_what_its_parent_held() -> None:
    """A process begins with its parent's peak in what getrusage says."""
    child = "from engine.compute.report import peak_memory; print(peak_memory())"
    parent = f"import subprocess, sys; held = b'x' * 1_500_000_000; subprocess.run([sys.executable, '-c', {child!r}])"
    answer = subprocess.run(
        [sys.executable, "-c", parent], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=300
    )
    assert 10**8 < int(answer.stdout.splitlines()[-1]) < 1.2e9
