"""Memory that really runs out, and a disk that really fills up, under real workers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.data.example import Example
from engine.data.prepare import Prepared
from engine.files import read_json
from engine.home import CHECKOUT
from engine.runs import queue, store, worker
from tests.fakes import living, models, runs

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits of memory and small disks are made as Linux has them"
)
ROWS = 8


def test_memory_that_really_runs_out_ends_in_a_finished_run_with_fewer_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_WORKER", json.dumps([sys.executable, "-m", "tests.fakes.squeezed_worker"]))
    monkeypatch.setattr(living, "SECONDS_AT_MOST", 200)
    base = models.tiny_decoder(tmp_path / "base", inner=8192)
    spec = runs.spec(base, "chat", "full", batch_size=ROWS, max_steps=1, max_tokens=512)
    run = store.create(spec, Prepared(list(_long_rows()), [], [], []))
    queue.start(run)
    living.comes_to(run, "finished")
    assert any(f"Memory ran out with {ROWS} rows at a time" in text for text in living.texts(run))
    assert (read_json(run.folder / "attempt.json") or {})["micro_batch"] < ROWS
    assert "can't allocate memory" in (run.folder / "worker.log").read_text(encoding="utf-8")


def _long_rows() -> Iterator[Example]:
    question, answer = "Where is my card? " * 4, "When will the card come? " * 40
    for row in range(1, ROWS + 1):
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": f"{answer}{row}"}]
        yield Example(row, "train", messages=messages)


@pytest.mark.timeout(400)
def test_a_disk_that_really_fills_up_keeps_the_last_whole_checkpoint_and_the_run_goes_on_from_it(
    tmp_path: Path,
) -> None:
    base = models.tiny_decoder(tmp_path / "base")
    spec = runs.spec(base, "chat", "lora", max_steps=400, save_minutes=0.0001, learning_rate=1e-3)
    whole = runs.folder(tmp_path / "whole", spec)
    disk = tmp_path / "disk"
    disk.mkdir()
    # In a mount namespace of its own, so that the small disk is gone with the process, whatever happens.
    small_disk = f'mount -t tmpfs -o size={DISK_MEGABYTES}m tmpfs "$1" && shift && exec "$@"'
    script = [sys.executable, "-m", "tests.fakes.full_disk", str(whole), str(disk)]
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", small_disk, "sh", str(disk), *script],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "unshare failed" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["first"] == worker.DISK_FULL
    assert told["problem"] in ("The disk is full.", None)  # on a disk that is quite full there is no room for a word
    assert 0 < told["kept_step"] < 400
    assert told["second"] == worker.FINISHED
    assert told["resumed_from"] == told["kept_step"]


DISK_MEGABYTES = 260
