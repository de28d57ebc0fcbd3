"""What every training loop promises, on one tiny pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UserError
from engine.events import Writer
from engine.planning.jobs import open_job
from engine.specs.sections import Output
from tests.fakes import models, runs


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("tiny") / "decoder")


def run(folder: Path) -> bool:
    from engine.compute.report import Reporter
    from engine.compute.train import run as whole

    writer = Writer(folder / "events.jsonl")
    try:
        return whole(open_job(folder, lambda text: None), Reporter(folder, writer), Output())
    finally:
        writer.close()


def test_batches_hold_each_row_once_and_depend_on_seed_and_epoch_alone() -> None:
    from engine.compute.batches import ByLength

    lengths = [(7 * row) % 50 + 1 for row in range(101)]
    sampler = ByLength(lengths, batch=8, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(101))
    assert list(sampler) == first
    sampler.epoch = 1
    assert list(sampler) != first
    assert list(ByLength(lengths, batch=8, seed=4)) != first


def test_batches_of_like_length_pad_less_than_mixed_ones() -> None:
    from engine.compute.batches import ByLength

    lengths = [(7 * row) % 50 + 1 for row in range(200)]

    def padding(order: list[int]) -> int:
        batches = [order[start : start + 8] for start in range(0, 200, 8)]
        return sum(
            max(lengths[row] for row in batch) * len(batch) - sum(lengths[row] for row in batch) for batch in batches
        )

    assert padding(list(ByLength(lengths, batch=8, seed=0))) < padding(list(range(200))) / 3


def test_a_whole_run_tells_its_story_in_events(tiny: Path, tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", runs.spec(tiny, "chat", "lora"))
    assert run(folder)
    events = runs.events(folder)
    kinds = [event["type"] for event in events]
    assert {"notice", "progress", "evaluation", "sample", "checkpoint", "finished"} <= set(kinds)
    phases = [event["phase"] for event in events if event["type"] == "progress"]
    assert list(dict.fromkeys(phases)) == ["load", "score before", "train", "score after"]
    done = events[-1]
    assert done["type"] == "finished" and done["metrics"]["after"]["exact_match"] >= 0
    assert done["metrics"]["before"]["loss"] > done["metrics"]["after"]["loss"]
    assert done["trainable_parameters"] < done["total_parameters"]
    assert (folder / "model" / "adapter_model.safetensors").exists()
    assert (folder / "model" / "train.py").exists()


def test_scores_of_single_rows_are_kept(tiny: Path, tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", runs.spec(tiny, "chat", "lora"))
    run(folder)
    kept = json.loads((folder / "scores" / "after.json").read_text(encoding="utf-8"))
    assert [row["row"] for row in kept["rows"]] == [11, 12]
    assert all(row["prompt"] and row["expected"] and row["loss"] > 0 for row in kept["rows"])


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(tiny: Path, tmp_path: Path) -> None:
    spec = runs.spec(
        tiny, "chat", "full", learning_rate=1.0, max_steps=40, clip_norm=0.0, schedule="constant", warmup=0.0
    )
    folder = runs.folder(tmp_path / "run", spec)
    from engine.compute import language

    calls = {"n": 0}
    original = language.NextTokenLosses.__call__

    def spoiled(self: Any, model: Any, inputs: Any) -> Any:
        losses, places = original(self, model, inputs)
        calls["n"] += 1
        return (losses * float("nan") if calls["n"] > 6 and model.training else losses), places

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language.NextTokenLosses, "__call__", spoiled)
        with pytest.raises(UserError, match="stopped being a number at step"):
            run(folder)
    from safetensors.torch import load_file

    from engine.runs import checkpoints

    newest, _ = checkpoints.newest_whole(folder / "checkpoints")
    assert newest is not None
    assert all(bool(tensor.isfinite().all()) for tensor in load_file(newest / "trainable.safetensors").values())


def test_early_stopping_ends_the_run_and_the_result_is_the_best_step(tiny: Path, tmp_path: Path) -> None:
    spec = runs.spec(tiny, "chat", "full", learning_rate=0.5, max_steps=40, schedule="constant", warmup=0.0)
    values = spec.as_dict()
    values["evaluation"] |= {"every_steps": 1, "early_stopping": 2}
    folder = runs.folder(tmp_path / "run", type(spec).parse(values))
    assert run(folder)
    events = runs.events(folder)
    losses = {event["step"]: event["metrics"]["loss"] for event in events if event["type"] == "evaluation"}
    best = min(losses, key=lambda step: losses[step])
    assert len(losses) == best + 2 < 40
    assert any(f"The result is step {best}" in event.get("text", "") for event in events)
    from safetensors.torch import load_file

    from engine.compute.result import open_result

    kept = load_file(folder / "checkpoints" / f"step-{best}" / "trainable.safetensors")
    _, model = open_result(folder)
    assert all(bool((parameter == kept[name]).all()) for name, parameter in model.named_parameters() if name in kept)


def test_a_stop_during_scoring_is_heeded_and_the_run_goes_on_from_there(tiny: Path, tmp_path: Path) -> None:
    folder = runs.folder(tmp_path / "run", runs.spec(tiny, "chat", "lora"))
    (folder / "stop").touch()
    assert not run(folder)
    assert not (folder / "model").exists()
    (folder / "stop").unlink()
    assert run(folder)


def test_smaller_micro_batches_give_the_same_losses(tiny: Path, tmp_path: Path) -> None:
    def losses(name: str, **training: Any) -> list[float]:
        folder = runs.folder(tmp_path / name, runs.spec(tiny, "chat", "lora", batch_size=4, **training))
        run(folder)
        return [e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None]

    whole, halved = losses("whole"), losses("halved", micro_batch_size=1)
    assert halved[0] == pytest.approx(whole[0], rel=1e-4)
    assert halved[-1] == pytest.approx(whole[-1], rel=1e-3)


def test_gradient_checkpointing_changes_no_loss(tiny: Path, tmp_path: Path) -> None:
    def first(name: str, setting: str) -> float:
        folder = runs.folder(tmp_path / name, runs.spec(tiny, "chat", "lora", checkpointing=setting))
        run(folder)
        return next(e["loss"] for e in runs.events(folder) if e["type"] == "progress" and e.get("loss") is not None)

    assert first("on", "on") == pytest.approx(first("off", "off"), rel=1e-5)


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_base_of_few_bits_carries_a_lora_that_learns_and_reloads(bits: str, tmp_path: Path) -> None:
    base = models.tiny_decoder(tmp_path / "base", width=64)  # 4-bit blocks are 64 wide
    spec = runs.spec(base, "chat", "lora", learning_rate=5e-2, max_steps=12)
    values = spec.as_dict()
    values["model"]["load"] = bits
    folder = runs.folder(tmp_path / "run", type(spec).parse(values))
    assert run(folder)
    done = runs.events(folder)[-1]["metrics"]
    assert done["after"]["loss"] < done["before"]["loss"]
    from engine.compute.result import open_result

    job, model = open_result(folder)
    again = job.objective.score(job, model, job.examples["test"], lambda done, total: None)
    assert again.metrics["loss"] == pytest.approx(done["after"]["loss"], rel=1e-3)
