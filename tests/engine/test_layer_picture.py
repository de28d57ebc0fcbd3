"""The picture of the layers agrees with the count of what learns, for every tuner and kind of model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import objectives, tuners
from engine.bases import catalog, models
from engine.bases.models import ModelFacts
from engine.methods.objective import pair_refusal
from engine.planning.explain import parameter_counts
from engine.planning.layer_picture import Band, Picture, picture
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.fakes import models as fakes
from tests.fakes import runs

NAMES = [tuner.name for tuner in tuners.all()]
KINDS = {**test_matrix.MODELS, "gpt2": fakes.tiny_gpt2}
DECODER, ENCODER = models.embedded_facts(catalog.SMOLLM2), models.embedded_facts(catalog.MINILM)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFacts]:
    place: Path = tmp_path_factory.mktemp("pictured")
    return {name: models.facts(Model(id=str(make(place / name)))) for name, make in KINDS.items()}


def drawn(facts: ModelFacts, objective: str, tuner: str, **settings: Any) -> Picture:
    chosen = tuners.get(tuner)
    return picture(facts, objectives.get(objective), chosen, chosen.Settings(**settings))


def learned(bands: list[Band]) -> int:
    return sum(band.learned * band.count for band in bands)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", [objective.name for objective in objectives.all()])
@pytest.mark.parametrize("name", NAMES)
def test_the_bands_add_up_to_what_learns_and_to_the_model(
    name: str, objective: str, kind: str, tiny: dict[str, ModelFacts]
) -> None:
    facts, tuner, goal = tiny[kind], tuners.get(name), objectives.get(objective)
    values = runs.SMALL.get(name, {})
    refused = pair_refusal(goal, tuner) or goal.refuses(facts, goal.Settings())
    if refused or tuner.refuses(facts, tuner.Settings(**values)):
        return
    found = drawn(facts, objective, name, **values)
    whole = facts.parameters if goal.whole(facts) else facts.backbone_parameters
    assert sum(band.total * band.count for band in found.bands) == whole
    spec = RunSpec.parse(
        {
            "model": {"id": facts.id},
            "data": [{"source": "-"}],
            "objective": objective,
            "tuner": {"name": name, **values},
        }
    )
    assert learned(found.bands) == found.learned == parameter_counts(spec, facts, [])[0]
    layers = [number for band in found.bands if band.first for number in range(band.first, band.last + 1)]
    assert sorted(layers) == list(range(1, facts.layers + 1))


def test_layers_that_are_alike_are_one_band() -> None:
    found = drawn(DECODER, "chat", "top-layers", layers=6)
    told = [(band.place, band.first, band.last, bool(band.learned)) for band in found.bands]
    assert told == [
        ("language head", 0, 0, False),
        ("last norm", 0, 0, True),
        ("layer", 25, 30, True),
        ("layer", 1, 24, False),
        ("embeddings", 0, 0, False),
    ]
    assert all(part.learned == part.total for part in found.bands[2].parts)


def test_a_settings_change_changes_the_picture() -> None:
    narrow, wide = drawn(DECODER, "chat", "lora", rank=8), drawn(DECODER, "chat", "lora", rank=16)
    assert wide.learned == 2 * narrow.learned
    attention = drawn(DECODER, "chat", "lora", targets="attention").bands[2]
    assert [bool(part.learned) for part in attention.parts] == [True, False, False]


def test_layers_that_join_one_by_one_say_when() -> None:
    (band,) = [one for one in drawn(DECODER, "chat", "top-layers", layers=4, gradual=True).bands if one.joins]
    assert (band.first, band.last, band.joins) == (27, 30, (0.0, 0.375))
    assert not any(one.joins for one in drawn(DECODER, "chat", "top-layers", layers=4).bands)


def test_what_learns_before_the_text_is_a_band_of_its_own() -> None:
    found = drawn(DECODER, "chat", "prompt", tokens=7)
    assert (found.bands[-1].place, found.bands[-1].learned) == ("input", 7 * DECODER.hidden)


def test_a_classifier_on_fixed_features_shows_which_layers_it_reads() -> None:
    found = drawn(ENCODER, "classify", "head", layer=2, layers=2)
    assert [(band.first, band.last) for band in found.bands if band.read] == [(4, 5)]
    assert (found.learned, found.bands[0].place, found.per_label) == (0, "head", 0)


def test_a_new_head_is_counted_by_the_label() -> None:
    assert drawn(ENCODER, "classify", "lora").per_label == ENCODER.hidden + 1
