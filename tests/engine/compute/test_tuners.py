"""What every tuner promises besides the contract of pairs: counts, merging, and what moves when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import tuners
from engine.bases import models as model_facts
from engine.errors import UserError
from engine.specs.sections import Model
from tests import test_matrix
from tests.fakes import models, runs

NAMES = [tuner.name for tuner in tuners.all() if tuner.kind == "gradient"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("bases")
    made = {**test_matrix.MODELS, "gpt2": models.tiny_gpt2}
    return {name: make(place / name) for name, make in made.items()}


def settings(tuner: tuners.Tuner) -> Any:
    return tuner.Settings(**runs.SMALL.get(tuner.name, {}))


def base_of(name: str, folder: Path) -> Any:
    """A model for the tuner of this name, nothing of it learning; an encoder without its pooler, as classifiers have it."""
    from transformers import AutoModel, AutoModelForCausalLM

    encoder = model_facts.facts(Model(id=str(folder))).kind == "encoder"
    base = (AutoModel if encoder else AutoModelForCausalLM).from_pretrained(folder).requires_grad_(False)
    if encoder and name != "full":
        base.pooler = None
    return base


@pytest.mark.parametrize("kind", ["decoder", "biased-decoder", "gpt2", "encoder"])
@pytest.mark.parametrize("name", NAMES)
def test_the_predicted_number_of_learned_weights_is_the_real_one(
    name: str, kind: str, folders: dict[str, Path]
) -> None:
    tuner = tuners.get(name)
    facts = model_facts.facts(Model(id=str(folders[kind])))
    if tuner.refuses(facts, settings(tuner)):
        return
    chosen = tuner.settled(settings(tuner), folders[kind])
    model = tuner.apply(base_of(name, folders[kind]), chosen, 1)
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert learned == tuner.trainable_parameters(facts, chosen)


@pytest.mark.parametrize("kind", ["decoder", "biased-decoder", "gpt2", "encoder"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "adalora"])
def test_the_predicted_size_of_a_result_is_the_real_one(
    name: str, kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Of AdaLoRA's it is the average in the end, which the shortest runs don't come to."""
    from safetensors.torch import load_file

    tuner = tuners.get(name)
    facts = model_facts.facts(Model(id=str(folders[kind])))
    if tuner.refuses(facts, settings(tuner)):
        return
    chosen = tuner.settled(settings(tuner), folders[kind])
    tuner.save(tuner.apply(base_of(name, folders[kind]), chosen, 1), tmp_path)
    held = [load_file(file) for file in tmp_path.glob("*.safetensors")]
    assert sum(tensor.numel() for one in held for tensor in one.values()) == tuner.saved_parameters(facts, chosen)


@pytest.mark.parametrize("name", NAMES)
def test_a_merged_result_answers_as_the_one_beside_its_base(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from engine.compute.merge import merge
    from engine.compute.result import open_result, save_result

    if test_matrix.works("chat", name, folders["decoder"]):
        return
    run = runs.folder(tmp_path / "run", runs.spec(folders["decoder"], "chat", name))
    trainer = test_matrix.trained(run)
    save_result(trainer.job, trainer.model)
    if tuners.get(name).unmergeable:
        with pytest.raises(UserError, match="can't be merged"):
            merge(run, tmp_path / "merged")
        return
    merge(run, tmp_path / "merged")
    job, apart = open_result(run)
    together = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(test_matrix.logits(job, together), test_matrix.logits(job, apart), rtol=1e-3, atol=1e-3)


def test_layers_that_unfreeze_one_by_one_move_when_their_turn_comes_and_not_before(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    spec = runs.spec(folders["decoder"], "chat", "top-layers", max_steps=8)
    gradual = spec.tuner.Settings(layers=2, gradual=True)
    run = runs.folder(tmp_path / "run", replace(spec, tuner_settings=gradual))
    lower, upper = [], []

    from engine.compute import loop

    def note(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        named = dict(self.loop.model.named_parameters())
        lower.append(float(named["model.layers.0.mlp.up_proj.weight"].detach().sum()))
        upper.append(float(named["model.layers.1.mlp.up_proj.weight"].detach().sum()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Watch, "on_optimizer_step", note, raising=False)
        test_matrix.trained(run)
    assert len(lower) == 8
    assert len(set(lower[:2])) == 1, "the lower layer waits for a quarter of the run"
    assert len(set(lower[2:])) > 3, "then it learns"
    assert len(set(upper)) > 6, "the upper layer learns from the start"


def test_bitfit_on_a_model_without_biases_is_refused_with_what_to_choose(folders: dict[str, Path]) -> None:
    reason = test_matrix.works("chat", "biases", folders["decoder"])
    assert reason is not None and "no bias terms" in reason and "norms" in reason and "beft" in reason
