"""PiSSA and AdaLoRA: what they do while they learn, and that ordinary LoRAs are left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SettingError
from tests import test_matrix
from tests.fakes import models, runs

STEPS = 20


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_decoder(tmp_path_factory.mktemp("low-rank") / "decoder")


def run(decoder: Path, place: Path, tuner: str, **training: Any) -> Path:
    return runs.folder(place, runs.spec(decoder, "chat", tuner, **training))


def config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")))


def test_pissa_begins_as_the_untouched_model(decoder: Path, tmp_path: Path) -> None:
    import torch

    from engine.compute.model import apply_tuner
    from engine.planning.jobs import open_job

    job = open_job(run(decoder, tmp_path / "run", "pissa"), lambda text: None)
    plain = test_matrix.logits(job, job.objective.load(job))
    torch.testing.assert_close(test_matrix.logits(job, apply_tuner(job, job.objective.load(job))), plain)


def test_pissa_begins_with_the_largest_singular_values(decoder: Path, tmp_path: Path) -> None:
    import torch

    from engine.compute.low_rank import LEARNS, layers
    from engine.compute.model import apply_tuner
    from engine.planning.jobs import open_job

    job = open_job(run(decoder, tmp_path / "run", "pissa"), lambda text: None)
    layer = next(layers(apply_tuner(job, job.objective.load(job))))
    found = torch.linalg.svdvals(layer.lora_B[LEARNS].weight @ layer.lora_A[LEARNS].weight)[:16]
    torch.testing.assert_close(found, torch.linalg.svdvals(layer.get_base_layer().weight)[:16], rtol=1e-3, atol=1e-4)


def test_pissa_leaves_an_ordinary_lora_of_twice_the_rank(decoder: Path, tmp_path: Path) -> None:
    trainer = test_matrix.trained(run(decoder, tmp_path / "run", "pissa"))
    trainer.job.tuner.save(trainer.model, tmp_path)
    found = config(tmp_path)
    assert (found["r"], found["lora_alpha"], found["init_lora_weights"]) == (32, 32, True)


def test_adalora_gives_up_directions_until_the_average_rank_is_left(decoder: Path, tmp_path: Path) -> None:
    trainer = test_matrix.trained(run(decoder, tmp_path / "run", "adalora", max_steps=STEPS, epochs=10))
    trainer.job.tuner.save(trainer.model, tmp_path)
    found = config(tmp_path)
    layers = len([name for name in dict(trainer.model.named_modules()) if name.endswith("lora_E")])
    ranks = [*found["rank_pattern"].values()]
    ranks += [found["r"]] * (layers - len(ranks))
    assert found["peft_type"] == "LORA"
    assert sum(ranks) / layers == pytest.approx(16, abs=0.5)
    assert len(set(ranks)) > 1, "layers keep as much as they need, not all the same"


def test_adalora_resumes_exactly_after_directions_were_given_up(decoder: Path, tmp_path: Path) -> None:
    from engine.compute import loop

    whole = test_matrix.trained(run(decoder, tmp_path / "whole", "adalora", max_steps=STEPS, epochs=10))
    part = run(decoder, tmp_path / "part", "adalora", max_steps=STEPS, epochs=10)
    ends = loop._Watch.on_step_end

    def stop_late(self: Any, args: Any, state: Any, *rest: Any, **more: Any) -> None:
        if state.global_step == 16:
            (part / "stop").touch()
        ends(self, args, state, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Watch, "on_step_end", stop_late)
        first = test_matrix.trained(part)
    assert first.state.global_step == 16
    (part / "stop").unlink()
    second = test_matrix.trained(part)
    assert first.reporter.losses + second.reporter.losses == whole.reporter.losses
    assert test_matrix.hashes(second.model, trainable=True) == test_matrix.hashes(whole.model, trainable=True)


def test_the_penalty_of_adalora_does_not_depend_on_the_micro_batch(decoder: Path, tmp_path: Path) -> None:
    whole = test_matrix.trained(run(decoder, tmp_path / "whole", "adalora", batch_size=4, micro_batch_size=4))
    parts = test_matrix.trained(run(decoder, tmp_path / "parts", "adalora", batch_size=4, micro_batch_size=1))
    assert parts.job.plan.accumulation == 4
    assert parts.reporter.losses == pytest.approx(whole.reporter.losses, rel=1e-5)


def test_adalora_keeps_its_directions_near_right_angles(decoder: Path, tmp_path: Path) -> None:
    from engine.compute.allocation import skewness

    trainer = test_matrix.trained(run(decoder, tmp_path / "run", "adalora", max_steps=STEPS, epochs=10))
    assert skewness(trainer.model) < skewness(test_matrix._untrained(trainer))


def test_a_run_of_two_steps_is_too_short_for_adalora_to_give_anything_up(decoder: Path, tmp_path: Path) -> None:
    trainer = test_matrix.trained(run(decoder, tmp_path / "run", "adalora", max_steps=2))
    trainer.job.tuner.save(trainer.model, tmp_path)
    assert (config(tmp_path)["r"], config(tmp_path)["rank_pattern"]) == (24, {})


def test_only_the_embeddings_of_the_named_tokens_change(decoder: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from engine.compute.merge import merge
    from engine.compute.result import save_result

    folder = run(decoder, tmp_path / "run", "trainable-tokens")
    trainer = test_matrix.trained(folder)
    save_result(trainer.job, trainer.model)
    merge(folder, tmp_path / "merged")
    before = AutoModelForCausalLM.from_pretrained(decoder).get_input_embeddings().weight
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").get_input_embeddings().weight
    changed = (before != after).any(dim=1).nonzero()[:, 0].tolist()
    assert changed == list(trainer.job.tuner_settings.ids)
    assert {trainer.job.tokens.decode([one], skip_special=False).strip() for one in changed} == {"card", "<|im_end|>"}
    assert torch.equal(after, AutoModelForCausalLM.from_pretrained(tmp_path / "merged").get_output_embeddings().weight)


@pytest.mark.parametrize(
    ("tokens", "told"), [("", "is empty"), ("  ", "is empty"), ("card zebra", "'zebra' is not one token")]
)
def test_tokens_that_are_missing_or_unknown_are_refused_before_the_start(tokens: str, told: str, decoder: Path) -> None:
    from engine import tuners

    tuner = tuners.get("trainable-tokens")
    with pytest.raises(SettingError, match=told):
        tuner.settled(tuner.Settings(tokens=tokens), decoder)
