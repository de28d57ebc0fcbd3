"""A tuner is one class: added while the program runs, it is found wherever tuners are offered, and it works."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import yaml

from engine import objectives, tuners
from engine.__main__ import main
from engine.bases.models import ModelFacts
from engine.errors import SettingError
from engine.methods.partial_tuner import PartialTuner
from engine.settings import Section, setting
from engine.specs.spec import RunSpec
from tests import test_matrix
from tests.fakes import models, runs
from tests.test_docs import generator
from ui.screens import method

PATTERN = r"layers?\.(\d+)\..*norm\w*\.weight$"


class UpperNorms(PartialTuner):
    name = "upper-norms"
    title = "Norms of the upper layers"
    help = "Only the factors of the layer norms in the uppermost layers learn; the rest of the model stays as it is."
    paper = "https://arxiv.org/abs/2312.11420"
    family = "Added by a test"
    adds = False
    order = 77
    base_rate = 2e-3

    class Settings(Section):
        layers: int = setting(1, "Layers of norms", "In how many layers, from the uppermost down, norms learn.", ge=1)

    def chosen(self, name: str, layers: int, settings: Any) -> bool:
        found = re.search(PATTERN, name, re.IGNORECASE)
        return found is not None and int(found[1]) >= layers - settings.layers

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        if settings.layers > facts.layers:
            return f"{facts.id} has {facts.layers} layers; norms of {settings.layers} are asked for."
        return None

    def script(self, settings: Any) -> str:
        return f"""
def tune(backbone):
    import re

    first = backbone.config.num_hidden_layers - {settings.layers}
    for name, parameter in backbone.named_parameters():
        found = re.search({PATTERN!r}, name, re.IGNORECASE)
        parameter.requires_grad_(found is not None and int(found[1]) >= first)
    return backbone
"""


@pytest.fixture(autouse=True)
def added() -> Iterator[UpperNorms]:
    tuner = UpperNorms()
    tuners.add(tuner)
    yield tuner
    tuners.remove(tuner.name)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return models.tiny_decoder(tmp_path / "tiny")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[method.MethodScreen]:
    made: list[asyncio.AbstractEventLoop] = []
    new = asyncio.new_event_loop
    # Gradio makes event loops for an app that is never launched, and leaves them open.
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: made.append(new()) or made[-1])
    with gr.Blocks():
        built = method.build()
    yield built
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()


def spec_file(place: Path, model: Path, **tuner: Any) -> Path:
    values = {
        "model": {"id": str(model)},
        "data": [{"source": "sample:banking-intents"}],
        "tuner": {"name": "upper-norms", **tuner},
    }
    path = place / "spec.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_the_page_offers_it_with_a_form_of_its_settings(
    added: UpperNorms, screen: method.MethodScreen, tiny: Path
) -> None:
    shown = "".join(part for part in method._look([])("", "chat", "lora", "", "own") if isinstance(part, str))
    assert escape(added.title) in shown and escape(added.help) in shown and added.family in shown
    (form,) = (part for place, part in screen.forms if place == "tuner upper-norms")
    assert [(item.label, item.info) for item in form.inputs] == [
        ("Layers of norms", "In how many layers, from the uppermost down, norms learn.")
    ]
    given = {screen.model._id: str(tiny), screen.tuner._id: "upper-norms", form.inputs[0]._id: 2}
    values = screen.values([given.get(item._id, item.value) for item in screen.inputs])
    spec = RunSpec.parse({**values, "data": [{"source": "sample:banking-intents"}]})
    assert spec.tuner is added and spec.tuner_settings == added.Settings(layers=2)
    by_id = dict(zip([item._id for item in screen.inputs], screen.show(spec.as_dict()), strict=True))
    assert by_id[screen.tuner._id]["value"] == "upper-norms" and by_id[form.inputs[0]._id]["value"] == 2


def test_a_spec_in_yaml_names_it_and_is_written_back(added: UpperNorms, tmp_path: Path, tiny: Path) -> None:
    spec = RunSpec.load(spec_file(tmp_path, tiny, layers=2))
    assert spec.tuner is added and spec.tuner_settings == added.Settings(layers=2)
    assert yaml.safe_load(spec.to_yaml())["tuner"] == {"name": "upper-norms", "layers": 2}
    with pytest.raises(SettingError, match=r"Layers of norms \(tuner.layers\)"):
        RunSpec.load(spec_file(tmp_path, tiny, layers=0))


def test_the_command_line_lists_plans_and_refuses_it(
    added: UpperNorms, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["methods", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (listed,) = (tuner for tuner in found["tuners"] if tuner["name"] == "upper-norms")
    assert (listed["title"], listed["paper"]) == (added.title, added.paper)
    assert [setting["name"] for setting in listed["settings"]] == ["layers"]
    assert {pair["objective"] for pair in found["pairs"] if pair["tuner"] == "upper-norms"} == {
        objective.name for objective in objectives.all()
    }

    explain = ["train", str(spec_file(tmp_path, tiny)), "--explain", "--json"]
    assert main([*explain, "--set", "tuner.layers=2"]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert explained["plan"]["learning_rate"] == added.base_rate
    assert main([*explain, "--set", "tuner.layers=3"]) == 2
    assert "norms of 3 are asked for" in capsys.readouterr().out


def test_the_table_of_methods_takes_it_up(added: UpperNorms) -> None:
    page = generator().pages()["methods.md"]
    assert f"| `upper-norms` {added.title} | {added.help} |" in page
    assert "### Settings of `upper-norms`" in page and "**Layers of norms.**" in page
    (header,) = (line for line in page.splitlines() if line.startswith("| | `"))
    assert "`upper-norms`" in header


@pytest.mark.parametrize("objective", ["chat", "classify"])
def test_it_learns_and_its_result_is_opened_again(objective: str, tiny: Path, tmp_path: Path) -> None:
    import torch

    from engine.compute.result import open_result, save_result

    spec = runs.spec(tiny, objective, "upper-norms", max_steps=8)
    folder = runs.folder(tmp_path / "run", replace(spec, tuner_settings=UpperNorms.Settings(layers=1)))
    trainer = test_matrix.trained(folder)
    learned = {name for name, p in trainer.job.objective.backbone(trainer.model).named_parameters() if p.requires_grad}
    assert {name.rpartition("layers.")[2] for name in learned} == {
        "1.input_layernorm.weight",
        "1.post_attention_layernorm.weight",
    }
    assert sum(trainer.reporter.losses[-3:]) < sum(trainer.reporter.losses[:3])
    save_result(trainer.job, trainer.model)
    assert UpperNorms().script(spec.tuner.Settings()).strip() in (folder / "model" / "train.py").read_text("utf-8")
    job, again = open_result(folder)
    torch.testing.assert_close(test_matrix.logits(job, again), test_matrix.logits(trainer.job, trainer.model))


def test_once_removed_it_is_unknown(added: UpperNorms) -> None:
    tuners.remove(added.name)
    with pytest.raises(SettingError, match="There is no tuner named 'upper-norms'"):
        tuners.get(added.name)
