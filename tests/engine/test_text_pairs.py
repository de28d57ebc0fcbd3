"""Two texts that are read together: found by their columns' names, encoded as the tokenizer does, learned, asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.data.example import Example
from engine.data.prepare import prepare
from engine.errors import DataError, SettingError
from engine.export import export
from engine.planning.jobs import open_job, truncation
from engine.runs.worker import main as work
from engine.scripts import snippets
from engine.specs.sections import Data
from engine.specs.spec import RunSpec
from engine.texts import text_pairs
from engine.texts.pair_tokens import lengths
from engine.texts.tokens import Tokens
from tests.fakes import models, runs, scripts

MADE = {"encoder": models.tiny_encoder, "decoder": models.tiny_decoder}


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast the machine is takes half a minute to measure, and tells nothing here."""
    from engine.compute import speed

    monkeypatch.setattr(speed, "of_machine", lambda *_, **__: None)


def like_bert(folder: Path) -> Path:
    """The tiny encoder, whose tokenizer says of each token of a pair which text it belongs to, as BERT's does."""
    models.tiny_encoder(folder)
    file = folder / "tokenizer.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    for part, kind in zip(record["post_processor"]["pair"], (0, 0, 0, 1, 1), strict=True):
        next(iter(part.values()))["type_id"] = kind
    file.write_text(json.dumps(record), encoding="utf-8")
    return folder


def rows() -> list[Example]:
    said = [("My card has not arrived.", "The card is here.", "no"), ("The fee was high.", "There was a fee.", "yes")]
    splits = ["train"] * 8 + ["validation"] * 2 + ["test"] * 4
    return [
        Example(number, split, text=said[number % 2][0], second=said[number % 2][1], label=said[number % 2][2])  # type: ignore[arg-type]
        for number, split in enumerate(splits, start=1)
    ]


# Data


def table(tmp_path: Path, header: str, **entry: Any) -> Data:
    lines = [f"First {number},Second {number},{'yes' if number % 2 else 'no'}" for number in range(12)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return Data(source=str(path), **entry)


@pytest.mark.parametrize(
    "header",
    [
        "premise,hypothesis,label",
        "sentence1,sentence2,label",
        "text_a,text_b,label",
        "ori_sentence,new_sentence,gold_label",
    ],
)
def test_two_columns_that_are_a_pair_by_their_names_are_read_together(header: str, tmp_path: Path) -> None:
    found = prepare([table(tmp_path, header)], "labelled", 1)
    assert {(row.text[:5], row.second[:6]) for row in found.examples} == {("First", "Second")}


def test_questions_with_answers_stay_a_conversation_unless_labels_are_asked_for(tmp_path: Path) -> None:
    entry = table(tmp_path, "question,answer,label")
    (row, *_) = prepare([entry], "messages", 1).examples
    assert [turn["role"] for turn in row.messages] == ["user", "assistant"]
    (row, *_) = prepare([entry.model_copy(update={"format": "labelled"})], "labelled", 1).examples
    assert (row.text, row.second, row.label) == ("First 0", "Second 0", "no")


def test_a_second_column_may_be_named_and_one_alone_is_kept_alone(tmp_path: Path) -> None:
    entry = table(tmp_path, "one,two,label", columns={"text": "one", "second": "two"})
    assert prepare([entry], "labelled", 1).examples[0].second == "Second 0"
    entry = table(tmp_path, "premise,hypothesis,label", columns={"text": "premise"})
    assert prepare([entry], "labelled", 1).examples[0].second == ""


def test_a_chat_model_gets_both_texts_in_one_message(tmp_path: Path) -> None:
    found = prepare([table(tmp_path, "premise,hypothesis,label")], "messages", 1)
    assert found.examples[0].messages[0]["content"] == "premise: First 0\nhypothesis: Second 0"
    assert any("Both texts are put into one message" in notice for notice in found.notices)


def test_equal_first_texts_are_no_repeats_where_the_second_ones_differ(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = [f"The same,Other {number},{'yes' if number % 2 else 'no'}" for number in range(12)]
    path.write_text("\n".join(["premise,hypothesis,label", *lines]), encoding="utf-8")
    found = prepare([Data(source=str(path))], "labelled", 1)
    assert not {"duplicates", "conflicts"} & {finding.name for finding in found.findings}


# Tokens


@pytest.mark.parametrize("most", [64, 20, 13, 8])
def test_a_pair_is_encoded_and_cut_as_transformers_does_it(most: int, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = like_bert(tmp_path / "base")
    theirs = AutoTokenizer.from_pretrained(folder)
    for first, second in [
        ("My new card", "When will the card come, and where is it?"),
        ("Please tell me how to do it", "No"),
    ]:
        ours = Tokens.load(folder).encode_pair(first, second, most)
        given = theirs(first, second, truncation="longest_first", max_length=most, return_token_type_ids=True)
        assert (ours.ids, ours.kinds) == (given["input_ids"], given["token_type_ids"])
        assert ours.full_length == len(theirs(first, second)["input_ids"])


def test_the_longer_text_is_cut_first() -> None:
    assert lengths(10, 4, 14) == (10, 4)
    assert lengths(10, 4, 9) == (5, 4)
    assert lengths(4, 10, 9) == (4, 5)
    assert lengths(10, 9, 7) == (4, 3)


def test_a_model_that_writes_reads_an_empty_line_between_the_two(tmp_path: Path) -> None:
    tokens = Tokens.load(models.tiny_decoder(tmp_path / "base"))
    assert tokens.decode(tokens.encode_pair("One.", "Two.", 64).ids).strip() == "One.\n\nTwo."


# Runs


def trained(place: Path, base: Path, tuner: str = "full") -> Path:
    folder = runs.folder(place, runs.spec(base, "classify", tuner), rows())
    assert work(folder) == 0, runs.events(folder)[-1]
    return folder


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_run_of_pairs_learns_them_and_its_script_gives_the_same_losses(kind: str, tmp_path: Path) -> None:
    base = like_bert(tmp_path / "base") if kind == "encoder" else models.tiny_decoder(tmp_path / "base")
    folder = trained(tmp_path / "run", base)
    assert text_pairs.of_result(folder / "model")
    kept = json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))["pair"]
    assert kept["told_apart"] == (kind == "encoder")
    scored = json.loads((folder / "scores" / "after.json").read_text(encoding="utf-8"))["rows"]
    assert scored[0]["prompt"] in {row.read for row in rows()}
    place = export(folder, "script", tmp_path / "alone")
    theirs = [float(loss) for loss in re.findall(r"loss ([\d.]+)", scripts.run(place, base))]
    ours = [
        event["loss"] for event in runs.events(folder) if event["type"] == "progress" and event.get("loss") is not None
    ]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)


@pytest.mark.parametrize("tuner", ["prefix", "prompt"])
def test_virtual_tokens_go_with_pairs(tuner: str, tmp_path: Path) -> None:
    base = like_bert(tmp_path / "base") if tuner == "prefix" else models.tiny_decoder(tmp_path / "base")
    trained(tmp_path / "run", base, tuner)


def test_fixed_features_of_pairs_are_fitted_asked_and_fitted_again_by_the_script(tmp_path: Path) -> None:
    from engine.compute.result import open_result

    base = like_bert(tmp_path / "base")
    folder = trained(tmp_path / "run", base, "head")
    place = export(folder, "script", tmp_path / "alone")
    scripts.run(place, base)
    assert (place / "result" / "head.safetensors").read_bytes() == (folder / "model" / "head.safetensors").read_bytes()
    job, model = open_result(folder)
    found = job.objective.chances(job, model, Example(1, text="The fee was high.", second="There was a fee."))
    assert found[0][0] == "yes"
    with pytest.raises(DataError, match="reads two texts at a time"):
        job.objective.chances(job, model, Example(1, text="The fee was high."))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_cards_code_reads_a_pair_as_the_run_does(tmp_path: Path) -> None:
    import torch

    from engine.compute.result import open_result

    folder = trained(tmp_path / "run", like_bert(tmp_path / "base"))
    kept = json.loads((folder / "model" / "classifier.json").read_text(encoding="utf-8"))
    source = snippets.Source(str(folder / "model"), "whole", "", on_hub=False)
    code = snippets.classify(source, kept, 64)
    text = f"{code.load}\n{code.ask}".replace("from huggingface_hub import hf_hub_download", "import os.path")
    given: dict[str, Any] = {}
    exec(text.replace("hf_hub_download", "os.path.join"), given)
    job, model = open_result(folder)
    chances = job.objective.chances(
        job, model, Example(1, text="Write the first text here.", second="And the second here.")
    )
    theirs = torch.softmax(given["scores"][0], dim=-1).tolist()
    assert dict(chances) == pytest.approx(dict(zip(job.labels, theirs, strict=True)), abs=1e-5)


def test_pairs_that_are_cut_are_counted_and_it_is_said_which_text_is(tmp_path: Path) -> None:
    spec = runs.spec(models.tiny_encoder(tmp_path / "base"), "classify", "full", max_tokens=10)
    job = open_job(runs.folder(tmp_path / "run", spec, rows()), lambda text: None)
    assert truncation(job)[0].endswith("longer than 10 tokens: cut at the end, the longer of both texts first.")
    assert all(len(row.ids) == 10 for row in job.encoded["train"])


def test_a_template_with_one_place_for_a_text_refuses_pairs(tmp_path: Path) -> None:
    spec = RunSpec.parse(
        {**runs.spec(models.tiny_decoder(tmp_path / "base"), "classify", "lora").as_dict(), "objective": "cloze"}
    )
    with pytest.raises(SettingError, match="two texts each don't go into a template"):
        open_job(runs.folder(tmp_path / "run", spec, rows()), lambda text: None)
