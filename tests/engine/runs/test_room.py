"""Where there is room for one more run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import machine
from engine.errors import MachineError
from engine.events import Progress, Writer
from engine.files import write_json
from engine.machine import Gpu, Machine
from engine.runs import checkpoints, room
from engine.specs.spec import RunSpec
from tests.fakes import runs

GB = 10**9


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Gives the machine so many GPUs, or none, and so many gigabytes of free memory on each or in all."""

    def give(gpus: int, free: float = 16) -> None:
        cards = tuple(Gpu(f"card {number}", 80 * GB, int(free * GB), 8.0) for number in range(gpus))
        found = Machine("cuda" if gpus else "cpu", 2, 64 * GB, int(free * GB), 100 * GB, False, cards)
        monkeypatch.setattr(machine, "inspect", lambda: found)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    room._devices.cache_clear()
    yield give
    room._devices.cache_clear()


def run(place: Path, planned: float | None = None, used: float = 0) -> Path:
    """A run folder with a plan of so many gigabytes, of which it has taken some."""
    place.mkdir()
    if planned is not None:
        write_json(place / "plan.json", {"memory": [{"name": "all", "bytes": int(planned * GB)}]})
        with Writer(place / "events.jsonl") as writer:
            writer.write(Progress(1, 2, memory_bytes=int(used * GB)))
    return place


def test_a_machine_without_gpus_takes_one_run(offer: Callable[..., None], tmp_path: Path) -> None:
    offer(gpus=0)
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    assert room.device_for(first, []) == ""
    assert room.device_for(second, [("", first)]) is None
    assert room.environment("") == {}


def test_each_gpu_takes_one_run(offer: Callable[..., None], tmp_path: Path) -> None:
    offer(gpus=2)
    folders = [run(tmp_path / str(number)) for number in range(3)]
    assert room.device_for(folders[0], []) == "0"
    assert room.device_for(folders[1], [("0", folders[0])]) == "1"
    assert room.device_for(folders[1], [("1", folders[0])]) == "0"
    assert room.device_for(folders[2], [("0", folders[0]), ("1", folders[1])]) is None
    assert room.environment("1")["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_run_of_several_processes_has_as_many_gpus_to_itself(offer: Callable[..., None], tmp_path: Path) -> None:
    offer(gpus=3)
    one, two, many = (run(tmp_path / name) for name in ("one", "two", "many"))
    for place, count in ((two, 2), (many, 8)):
        made = runs.spec(tmp_path, "chat", "lora").as_dict()
        RunSpec.parse({**made, "launch": {"processes": count}}).save(place / "spec.yaml")
    assert room.device_for(two, []) == "0,1" and room.device_for(two, [("1", one)]) == "0,2"
    assert room.device_for(two, [("0", one), ("2", one)]) is None
    assert room.device_for(one, [("0,1", two)]) == "2"
    assert room.device_for(one, [("0,1", two), ("2", one)]) is None
    assert room.device_for(many, []) == "0,1,2"  # it is refused at once, and waits for nothing
    assert room.environment("0,1")["CUDA_VISIBLE_DEVICES"] == "0,1"
    (one / "spec.yaml").write_text("launch: {processes: many}", encoding="utf-8")
    assert room.device_for(one, []) == "0"  # its worker says what is wrong
    offer(gpus=0)
    room._devices.cache_clear()
    assert room.device_for(two, []) == ""


def test_gpus_that_were_kept_from_this_program_are_not_given_away(
    offer: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(gpus=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5a")
    first = run(tmp_path / "first")
    assert room.device_for(first, []) == "3"
    assert room.device_for(first, [("3", first)]) == "GPU-5a"


def test_a_run_whose_device_was_forgotten_counts(offer: Callable[..., None], tmp_path: Path) -> None:
    offer(gpus=1)
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    assert room.device_for(second, [("", first)]) is None


@pytest.mark.parametrize(
    ("planned", "used", "wanted", "free", "fits"),
    [
        (4, 4, 4, 5, True),  # what the other has taken is not free any more
        (4, 1, 4, 5, False),  # 3 of the 5 are promised to the other
        (4, 1, 4, 7, True),
        (4, 4, None, 5, True),  # not planned yet: taken for one like the other
        (4, 4, None, 3, False),
        (None, 0, 1, 50, False),  # the other hasn't said yet what it takes
    ],
)
def test_several_runs_share_a_device_where_their_memory_fits(
    planned: float | None,
    used: float,
    wanted: float | None,
    free: float,
    fits: bool,
    offer: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(gpus=0, free=free)
    monkeypatch.setenv("TUNESMITH_PARALLEL", "2")
    other, one = run(tmp_path / "other", planned, used), run(tmp_path / "one", wanted)
    assert (room.device_for(one, [("", other)]) == "") is fits


def test_checkpoints_that_the_disk_can_not_hold_are_told_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5 * GB))
    room.require_disk(tmp_path, trained_weights=1_000_000, keep=2)
    with pytest.raises(MachineError, match=r"has 5\.0 GB free; .* need 7\.2 GB"):
        room.require_disk(tmp_path, trained_weights=135_000_000, keep=2)


def test_checkpoints_that_are_there_already_need_no_more_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5 * GB))
    for step in (1, 2, 3):
        place = tmp_path / "checkpoints" / f"step-{step}"
        place.mkdir(parents=True)
        checkpoints.commit(place, {"step": step})
    room.require_disk(tmp_path, trained_weights=135_000_000, keep=2)
