"""Checkpoints that are damaged in every way seen so far are passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.runs import checkpoints

FILES = ("trainable.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def checkpoint(parent: Path, step: int) -> Path:
    folder = parent / f"step-{step}"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(f"{name} at {step}".encode() * 50)
    checkpoints.commit(folder, {"step": step, "seconds": 1.5})
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "trainer state missing": lambda folder: (folder / "trainer_state.json").unlink(),
    "trainer state cut": lambda folder: cut(folder / "trainer_state.json"),
    "weights missing": lambda folder: (folder / "trainable.safetensors").unlink(),
    "weights cut": lambda folder: cut(folder / "trainable.safetensors"),
    "weights with flipped bytes": lambda folder: flip(folder / "trainable.safetensors"),
    "optimizer cut": lambda folder: cut(folder / "optimizer.pt"),
    "optimizer missing": lambda folder: (folder / "optimizer.pt").unlink(),
    "scheduler missing": lambda folder: (folder / "scheduler.pt").unlink(),
    "random state missing": lambda folder: (folder / "rng_state.pth").unlink(),
    "manifest missing": lambda folder: (folder / "manifest.json").unlink(),
    "manifest cut": lambda folder: cut(folder / "manifest.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage: str, tmp_path: Path) -> None:
    whole, newest = checkpoint(tmp_path, 10), checkpoint(tmp_path, 20)
    DAMAGE[damage](newest)
    found, skipped = checkpoints.newest_whole(tmp_path)
    assert found == whole
    assert len(skipped) == 1 and "step-20" in skipped[0]


def test_the_newest_whole_checkpoint_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    for step in (9, 20, 100):
        checkpoint(tmp_path, step)
    found, skipped = checkpoints.newest_whole(tmp_path)
    assert found is not None and found.name == "step-100" and not skipped
    assert checkpoints.facts(found) == {"step": 100, "seconds": 1.5}


def test_a_checkpoint_makes_those_of_later_steps_void_which_were_passed_over_as_damaged(tmp_path: Path) -> None:
    for step in (10, 20):
        checkpoint(tmp_path, step)
    flip(tmp_path / "step-20" / "optimizer.pt")
    checkpoint(tmp_path, 12)
    checkpoints.rotate(tmp_path, keep=1, best=None)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-12"]
    assert checkpoints.newest_step(tmp_path) == 12


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"files": []}', '{"files": {"a": 1}}', '{"files": {"a": {}}}'])
def test_a_manifest_that_is_none_makes_no_checkpoint(manifest: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 10)
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    assert checkpoints.verify(folder) == "manifest.json in step-10 is damaged."


def test_sweeping_removes_the_unfinished_alone(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    (tmp_path / "step-20").mkdir()
    (tmp_path / "step-20" / "optimizer.pt").write_bytes(b"half")
    checkpoints.sweep(tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-10"]


def test_rotation_keeps_the_newest_and_the_best_and_clears_unfinished_ones(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        checkpoint(tmp_path, step)
    (tmp_path / "step-6").mkdir()
    checkpoints.rotate(tmp_path, keep=2, best="step-2")
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-2", "step-4", "step-5"]


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert checkpoints.newest_whole(tmp_path / "nowhere") == (None, [])
