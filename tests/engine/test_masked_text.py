"""The objective text of models that only read: which words are hidden, how they are scored, and heads that begin anew."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import home, objectives
from engine.bases import models
from engine.compute import masked
from engine.compute.reading import read, scores
from engine.data.example import Example
from engine.data.prepare import Prepared
from engine.errors import SettingError
from engine.judging.evidence import gather
from engine.judging.measures import measure
from engine.judging.verdict import judge
from engine.planning.explain import parameter_counts
from engine.planning.jobs import open_job, require_pair
from engine.publishing import origin, stories
from engine.publishing.cards import card
from engine.runs import store
from engine.runs.worker import main as work
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from engine.texts import general, masking
from engine.texts.tokens import Tokens
from tests.engine.tokenizer_folders import wordpiece
from tests.fakes import models as fakes
from tests.fakes import runs
from tests.fakes.finished import settled
from tests.test_matrix import hashes, trained

TEXT = "Where is my card? It has not come, and I wait for the answer of the bank, as I often do."


def spec_of(base: Path | str, tuner: str = "full", objective: dict[str, Any] | None = None, **training: Any) -> RunSpec:
    values = runs.spec(Path("x"), "text", tuner, **training).as_dict()
    return RunSpec.parse({**values, "model": {"id": str(base)}, "objective": {"name": "text", **(objective or {})}})


def job_of(place: Path, base: Path, **settings: Any) -> Any:
    return open_job(runs.folder(place / "run", spec_of(base, objective=settings)), lambda text: None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return {
        "masked": fakes.tiny_masked_encoder(place / "masked"),
        "headless": fakes.tiny_headless_encoder(place / "headless"),
        "decoder": fakes.tiny_decoder(place / "decoder"),
    }


# Which words are hidden


def test_whole_words_are_hidden_in_about_the_share_that_was_asked_for() -> None:
    words = [-1, *(word for word in range(200) for _ in range(1 + word % 3)), -1]
    for share in (0.15, 0.5):
        at = masking.places(words, share, True, masking.draw(1, 0))
        assert len(at) == pytest.approx(share * (len(words) - 2), abs=2)
        hit = {words[place] for place in at}
        assert -1 not in hit and sorted(at) == at
        assert [place for place, word in enumerate(words) if word in hit] == at
    alone = masking.places(words, 0.5, False, masking.draw(1, 0))
    assert [place for place, word in enumerate(words) if word in {words[at] for at in alone}] != alone


def test_a_word_without_an_end_is_hidden_token_by_token_and_something_always_is() -> None:
    assert len(masking.places([0] * 100, 0.15, True, masking.draw(1))) == 15
    assert len(masking.places([-1, 0, 0, 0, 1, -1], 0.01, True, masking.draw(1))) in (1, 3)
    assert masking.places([-1, -1], 0.15, True, masking.draw(1)) == []


def test_hidden_tokens_stand_as_mask_as_another_or_as_they_are() -> None:
    ids, special = [50] * 20_000, {0, 1, 99}
    at = list(range(0, 20_000, 2))
    seen = masking.hidden(ids, at, 99, 100, special, masking.draw(7))
    assert all(one == 50 for one in seen[1::2])
    kept, masks = (sum(seen[place] == one for place in at) / len(at) for one in (50, 99))
    assert masks == pytest.approx(0.8, abs=0.02) and kept == pytest.approx(0.1, abs=0.02)
    assert not {seen[place] for place in at} & {0, 1}


def test_word_pieces_of_one_word_have_its_number(tmp_path: Path) -> None:
    tokens = Tokens.load(wordpiece(tmp_path))
    encoded = tokens.encode_words("clauses of the agreement", 100)
    assert encoded.ids == tokens.encode_text("clauses of the agreement", 100).ids
    numbers = [word for word in encoded.words if word >= 0]
    assert numbers == sorted(numbers) and encoded.words[0] == -1 == encoded.words[-1]
    cut = tokens.encode_words("clauses of the agreement", 4)
    assert len(cut.ids) == len(cut.words) == 4 and cut.full_length == encoded.full_length


def test_each_pass_hides_other_words_and_a_pass_is_the_same_again(tiny: dict[str, Path], tmp_path: Path) -> None:
    job = job_of(tmp_path, tiny["masked"])
    rows = [job.objective.row(job, *one) for one in zip(job.examples["train"], job.encoded["train"], strict=True)]
    first, second = (job.objective.drawn(job, rows, epoch) for epoch in (0, 1))
    assert [row["labels"] for row in first] != [row["labels"] for row in second]
    for row in rows[::-1]:  # whatever was drawn before
        assert job.objective.drawn(job, [row], 1) == [second[rows.index(row)]]
    for row, drawn in zip(rows, first, strict=True):
        same = [a == b for a, b in zip(row["ids"], drawn["input_ids"], strict=True)]
        assert all(kept or label != -100 for kept, label in zip(same, drawn["labels"], strict=True))
        assert all(label in (-100, one) for label, one in zip(drawn["labels"], row["ids"], strict=True))
    other = replace(job, training=job.training.model_copy(update={"seed": 2}))
    assert [row["labels"] for row in job.objective.drawn(other, rows, 0)] != [row["labels"] for row in first]


def test_held_out_words_are_the_same_whatever_the_settings(tiny: dict[str, Path], tmp_path: Path) -> None:
    rows = []
    for name, settings in (("a", {}), ("b", {"masked_share": 0.6, "whole_words": False})):
        job = job_of(tmp_path / name, tiny["masked"], **settings)
        rows.append(job.objective.row(job, job.examples["test"][0], job.encoded["test"][0]))
        assert job.objective.drawn(job, rows[-1:], 3) == rows[-1:]
    assert rows[0] == rows[1]
    hidden = [one for one, label in zip(rows[0]["input_ids"], rows[0]["labels"], strict=True) if label != -100]
    assert set(hidden) == {job.tokens.mask_id}


def test_a_run_that_was_stopped_hides_the_same_words_in_the_passes_that_follow(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    spec = spec_of(tiny["masked"], max_steps=6)  # of which four are the first pass
    whole = trained(runs.folder(tmp_path / "whole", spec))
    first = trained(runs.folder(tmp_path / "part", spec), stop=True)
    (tmp_path / "part" / "stop").unlink()
    second = trained(tmp_path / "part")
    assert len(whole.reporter.losses) == 6
    assert first.reporter.losses + second.reporter.losses == whole.reporter.losses
    assert hashes(second.model, trainable=True) == hashes(whole.model, trainable=True)


# How they are scored


@pytest.mark.parametrize("family", fakes.MASKED_FAMILIES)
def test_bits_per_hidden_byte_are_those_of_the_whole_models_own_loss(family: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForMaskedLM

    base = fakes.tiny_of_family(tmp_path / "base", family)
    assert models.facts(Model(id=str(base))).has_mlm_head
    job = job_of(tmp_path, base)
    row = Example(1, "test", text=TEXT)
    seen = read(job, job.objective.load(job), [row], lambda done, total: None, masked.HOW)[0]

    encoded = job.objective.encode(row, job.tokens, job.objective_settings, 64)
    inputs = job.objective.row(job, row, encoded)
    whole = AutoModelForMaskedLM.from_pretrained(base).eval()
    with torch.no_grad():
        ids, labels = (torch.tensor([inputs[name]]) for name in ("input_ids", "labels"))
        nats = float(whole(input_ids=ids, labels=labels).loss) * sum(encoded.learned)
    assert seen.tokens == sum(encoded.learned) > 3
    shown = "".join(job.tokens.decode([one]) for one, own in zip(encoded.ids, encoded.learned, strict=True) if own)
    assert seen.bytes == len(shown.replace(" ", "")) or seen.bytes == len(shown)
    assert seen.bits == pytest.approx(nats / math.log(2) / seen.bytes, rel=1e-3)


def test_general_text_is_scored_beside_and_no_name_is_that_of_models_that_write(
    tiny: dict[str, Path], tmp_path: Path
) -> None:
    job = job_of(tmp_path, tiny["masked"])
    rows = [Example(number, "test", text=TEXT) for number in (1, 2)]
    found = scores(job, job.objective.load(job), rows, general.meter()[:2], lambda done, total: None, masked.HOW)
    assert found.main == "bits_per_hidden_byte" and "bits_per_byte" not in found.metrics
    assert found.metrics["general_bits_per_hidden_byte_low"] < found.metrics["general_bits_per_hidden_byte_high"]
    assert measure(found.main).change_unit == "bits a hidden byte"
    assert found.rows[0].answer.endswith("bits a hidden byte") and found.rows[0] == replace(found.rows[1], row=1)


# A head that begins anew


def test_a_model_without_a_head_is_refused_until_a_new_one_is_asked_for(tiny: dict[str, Path]) -> None:
    facts = models.facts(Model(id=str(tiny["headless"])))
    with pytest.raises(SettingError, match=r"hold none\. 'Begin with a new head' \(objective\.new_head\) makes one"):
        require_pair(spec_of(tiny["headless"]), facts)
    require_pair(spec_of(tiny["headless"], objective={"new_head": True}), facts)
    for kind in ("masked", "decoder"):
        other = models.facts(Model(id=str(tiny[kind])))
        with pytest.raises(SettingError, match=r"has a head that knows its words; switch 'Begin"):
            require_pair(spec_of(tiny[kind], objective={"new_head": True}), other)
    assert objectives.get("text").refuses(facts) is None  # it can still be chosen


def finished(number: int, spec: RunSpec, rows: list[Example] | None = None) -> Path:
    folder = runs.folder(home.runs() / f"2026010{number}-000000-aaaaaaaa", spec, rows)
    assert work(folder) == 0, runs.events(folder)[-1]
    return folder


@pytest.mark.parametrize("tuner", ["full", "lora"])
def test_a_new_head_learns_is_saved_and_is_a_real_one_for_what_comes_after(tuner: str, tiny: dict[str, Path]) -> None:
    import torch
    from safetensors.torch import load_file

    spec = spec_of(tiny["headless"], tuner, {"new_head": True}, max_steps=8)
    first = finished(1, spec)
    events = runs.events(first)
    told = " ".join(event["text"] for event in events if event["type"] == "notice")
    assert "The head that guesses words begins anew and learns" in told
    end = events[-1]
    facts = models.facts(spec.model)
    assert (end["trainable_parameters"], end["total_parameters"]) == parameter_counts(spec.on(facts), facts, [])
    assert end["metrics"]["after"]["bits_per_hidden_byte"] < end["metrics"]["before"]["bits_per_hidden_byte"]
    assert json.loads((first / "model" / "masked_text.json").read_text())["head_learned"] is True
    verdict = judge(gather(first, "finished"))
    assert "its per hidden byte" in verdict.headline and verdict.measure == "bits_per_hidden_byte"
    assert any(sentence.startswith("Bits per hidden byte of general text went from ") for sentence in verdict.sentences)

    left = models.facts(Model(id=f"run:{first.name}"))
    assert left.has_mlm_head and left.mlm_head_parameters == 32 * 33 + 2 * 32 + fakes.VOCABULARY
    rows = [replace(row, row=number) for number, row in enumerate(runs.examples("labelled"), 1)]
    cloze = RunSpec.parse({**runs.spec(Path("x"), "cloze", "lora").as_dict(), "model": {"id": f"run:{first.name}"}})
    second = finished(2, cloze, rows)
    head, after = (load_file(one / "model" / "language_head.safetensors") for one in (first, second))
    assert head.keys() == after.keys() and all(torch.equal(head[name], after[name]) for name in head)
    begun = open_job(second, lambda text: None, to_train=False)
    model = begun.objective.load(begun)
    own = masked.own_parameters(model)
    assert all(torch.equal(head[name], own[f"language_head.{name}"]) for name in head)


def test_what_a_run_with_a_new_head_added_goes_on_learning_with_that_head(tiny: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    first = finished(1, spec_of(tiny["headless"], "lora", {"new_head": True}))
    again = spec_of(f"run:{first.name}", "lora").as_dict()
    again["model"]["continued"] = True
    second = finished(2, RunSpec.parse(again))
    before, after = (load_file(one / "model" / "language_head.safetensors") for one in (first, second))
    assert before.keys() == after.keys() and any((before[name] != after[name]).any() for name in before)
    scored = [runs.events(one)[-1]["metrics"] for one in (first, second)]
    assert scored[1]["before"]["loss"] == pytest.approx(scored[0]["after"]["loss"], rel=1e-4)


def test_a_whole_result_is_a_masked_language_model_with_all_its_parts(tiny: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForMaskedLM

    from engine.compute.result import open_result

    first = finished(1, spec_of(tiny["masked"]))
    whole, found = AutoModelForMaskedLM.from_pretrained(first / "model", output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    _, ours = open_result(first)
    ids = torch.tensor([[1, 20, 30, 40, 2]])
    mask, places = torch.ones_like(ids), torch.arange(5)[None]
    with torch.no_grad():
        torch.testing.assert_close(whole.eval()(input_ids=ids).logits, ours(ids, mask, places), rtol=1e-4, atol=1e-5)
    # One that learned labels on top keeps the head of the base that it stands on.
    rows = runs.examples("labelled")
    classify = {**runs.spec(Path("x"), "classify", "lora").as_dict(), "model": {"id": f"run:{first.name}"}}
    second = finished(2, RunSpec.parse(classify), rows)
    cloze = {**runs.spec(Path("x"), "cloze", "lora").as_dict(), "model": {"id": f"run:{second.name}"}}
    finished(3, RunSpec.parse(cloze), rows)


@pytest.mark.parametrize("tuner", ["full", "lora"])
def test_the_cards_code_guesses_hidden_words_as_the_run_does(
    tuner: str, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub
    import torch

    from engine.compute.result import open_result

    spec = spec_of(tiny["masked"], tuner)
    run = store.create(spec, Prepared(runs.examples("text"), [], [], []), "local")
    assert work(run.folder) == 0
    run = settled(run)
    text = card(stories.read(run, origin.base(spec.model)), "me/it", merged=False)
    assert "pipeline_tag: fill-mask" in text and "guesses words that are hidden" in text
    assert ("language_head.safetensors" in text) is (tuner == "lora")

    folder = run.folder / "model"
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name: str(Path(repo) / name))
    blocks = "\n".join(block.split("```")[0] for block in text.split("```python\n")[1:])
    blocks = blocks.replace('"me/it"', f'"{folder}"').replace(f'"{tiny["masked"].name}"', f'"{tiny["masked"]}"')
    capsys.readouterr()
    exec(compile(blocks, "card", "exec"), {"__name__": "card"})
    job, ours = open_result(run.folder)
    ids = [job.tokens.mask_id if one == "_" else one for one in _around(job.tokens)]
    at = ids.index(job.tokens.mask_id)
    tensor = torch.tensor([ids])
    with torch.no_grad():
        scores = ours(tensor, torch.ones_like(tensor), torch.tensor([[at]]))[0, 0]
    assert capsys.readouterr().out.strip() == str([job.tokens.decode([int(one)]) for one in scores.topk(5).indices])


def _around(tokens: Tokens) -> list[Any]:
    """Tokens of the sentence that the card asks about, with "_" for the hidden one."""
    left, right = (tokens.encode_bare(part)[0] for part in ("A sentence with one ", " that is hidden."))
    begin, end = tokens.frame
    return [*begin, *left, "_", *right, *end]
