"""A classifier that marks words: from data to result, script, pipeline, card, chat and page."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from engine import kinds
from engine.bases.models import facts
from engine.compute.score import mark_scores
from engine.data.example import Example, SplitName
from engine.data.marks import told
from engine.errors import DataError, SettingError
from engine.export import export
from engine.judging import pairing
from engine.judging.by_label import by_label
from engine.judging.scores import Marked, ScoredRow
from engine.planning.explain import explain
from engine.planning.jobs import open_job, require_pair
from engine.runs.outcome import _judged
from engine.runs.worker import main as work
from engine.scripts import snippets
from engine.specs.spec import RunSpec
from tests.fakes import models, runs, scripts
from ui import marking
from ui.screens import run as run_screen

TEXT = "My card fee."


@pytest.fixture(scope="module", autouse=True)
def _unmeasured() -> Any:
    """How fast the machine is takes half a minute to measure, and tells nothing here."""
    from engine.compute import speed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "of_machine", lambda *_, **__: None)
        yield


def rows(long: bool = False) -> list[Example]:
    """Sentences about cards and fees; some of them go on for longer than 40 tokens where that is asked."""
    splits: list[SplitName] = ["train"] * 40 + ["validation"] * 6 + ["test"] * 10
    drawn = random.Random(1)
    found = []
    for number, split in enumerate(splits, start=1):
        text = (
            f"The {drawn.choice(['card', 'fee', 'account'])} is with my {drawn.choice(['card', 'transfer', 'fee'])}. "
        )
        text = text * (6 if long and number % 2 else 1)
        marks = [(m.start(), m.end(), "thing" if m[0] == "card" else "money") for m in re.finditer("card|fee", text)]
        found.append(Example(number, split, text=text, label=told(text, marks), marks=marks))
    return found


def spec(base: Path, tuner: str = "full", **training: Any) -> RunSpec:
    return runs.spec(
        base, {"name": "classify", "kind": "marked words"}, tuner, **{"max_steps": 60, "batch_size": 8, **training}
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_encoder(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every other text is read in windows."""
    folder = runs.folder(tmp_path_factory.mktemp("runs") / "run", spec(base, max_tokens=40), rows(long=True))
    assert work(folder) == 0, runs.events(folder)[-1]
    return folder


def test_words_are_marked_in_long_texts_and_judged_mark_by_mark(trained: Path) -> None:
    done = runs.events(trained)[-1]["metrics"]
    after, before = done["after"], done["before"]
    assert done["main"] == "entity_f1" and "known words" in done["baselines"]
    assert {"entity_precision", "entity_recall_low", "entity_macro_f1_high", "loss"} <= set(after)
    assert after["loss"] < before["loss"] and after["entity_f1"] > before["entity_f1"]
    assert done["baselines"]["known words"]["entity_f1"] == 1.0  # in these rows a word is always marked, or never
    notices = [event["text"] for event in runs.events(trained) if event["type"] == "notice"]
    assert not any("cut" in notice for notice in notices)
    kept = json.loads((trained / "scores" / "after.json").read_text(encoding="utf-8"))["rows"]
    assert len(kept) == 10 and any(len(row["prompt"]) > 150 for row in kept)
    expected = {row.row: [list(mark) for mark in row.marks or []] for row in rows(long=True) if row.split == "test"}
    assert {row["row"]: row["marks"]["expected"] for row in kept} == expected
    outcome = _judged(trained, "finished", ())
    assert outcome.verdict.kinds[0] == "better" and "Entity F1 rose from" in outcome.verdict.headline
    assert any(
        line.startswith("To mark only words that were marked in the training rows")
        for line in outcome.verdict.sentences
    )
    assert outcome.by_label is not None and outcome.by_label.after.marks == sum(map(len, expected.values()))
    assert "Label by label, on" in "\n".join(outcome.lines()) and "marks of 10 held-out rows" in "\n".join(
        outcome.lines()
    )
    assert not any("labels in the held-out rows" in item.reason for item in outcome.advice)  # there are two
    shown = outcome.verdict.rows
    assert shown is not None and any(change.marks for change in (*shown.better, *shown.still_wrong))
    assert outcome.verdict.difference is not None
    assert outcome.verdict.difference.mean == pytest.approx(after["entity_f1"] - before["entity_f1"])


def test_the_script_learns_the_same_windows_with_the_same_losses(trained: Path, base: Path, tmp_path: Path) -> None:
    alone = export(trained, "script", tmp_path / "alone")
    assert '"core"' in (alone / "examples.jsonl").read_text(encoding="utf-8")
    theirs = [float(loss) for loss in re.findall(r"loss ([\d.]+)", scripts.run(alone, base))]
    ours = [e["loss"] for e in runs.events(trained) if e["type"] == "progress" and e.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([ours[0], ours[-1]], rel=1e-4)


def marked_by(code: snippets.Snippet) -> str:
    text = f"{code.load}\n{code.ask}".replace("from huggingface_hub import hf_hub_download", "import os.path")
    out = StringIO()
    with redirect_stdout(out):
        exec(text.replace("hf_hub_download", "os.path.join").replace("Write a text here.", TEXT), {"__name__": "card"})
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_pipeline_of_transformers_the_card_and_we_mark_the_same(trained: Path) -> None:
    from transformers import pipeline

    from engine.compute.result import open_result

    kept = json.loads((trained / "model" / "classifier.json").read_text(encoding="utf-8"))
    assert (kept["kind"], kept["pooling"], kept["pipeline"]) == ("marked words", "none", True)
    assert kept["labels"] == ["O", "B-money", "I-money", "B-thing", "I-thing"]
    config = json.loads((trained / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"]["3"] == "B-thing" and config["architectures"] == ["BertForTokenClassification"]
    job, model = open_result(trained)
    ours = job.objective.marks(job, model, Example(1, text=TEXT))
    assert [(mark.label, TEXT[mark.begin : mark.end]) for mark in ours] == [("thing", "card"), ("money", "fee")]
    tagger = pipeline("token-classification", model=str(trained / "model"), aggregation_strategy="simple")
    found = tagger(TEXT)
    assert [(one["entity_group"], TEXT[one["start"] : one["end"]].strip()) for one in found] == [
        ("thing", "card"),
        ("money", "fee"),
    ]
    assert [one["score"] for one in found] == pytest.approx([mark.chance for mark in ours], rel=0.2)
    whole = marked_by(snippets.marked(snippets.Source(str(trained / "model"), "whole", "", on_hub=False), True))
    beside = marked_by(snippets.marked(snippets.Source(str(trained / "model"), "whole", "", on_hub=False), False))
    assert re.findall(r"thing +card", whole) and re.findall(r"money +fee", whole)
    assert beside.splitlines() == ["thing card", "money fee"]


def test_what_an_adapter_added_is_merged_into_what_a_pipeline_reads(base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    from engine.compute.merge import merge
    from engine.compute.result import open_result

    folder = runs.folder(tmp_path / "run", spec(base, "lora", max_steps=4), rows())
    assert work(folder) == 0, runs.events(folder)[-1]
    merge(folder, tmp_path / "merged")
    whole = AutoModelForTokenClassification.from_pretrained(tmp_path / "merged").eval()
    job, model = open_result(folder)
    encoded = job.objective.encode(Example(1, text=TEXT), job.tokens, job.objective_settings, 64)
    import torch

    ids = torch.tensor([encoded.ids])
    with torch.no_grad():
        torch.testing.assert_close(whole(ids).logits, model(ids, torch.ones_like(ids)), rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that reads from left to right, whose every other text is read in windows."""
    place = tmp_path_factory.mktemp("left-to-right")
    folder = runs.folder(place / "run", spec(models.tiny_decoder(place / "base"), max_tokens=60), rows(long=True))
    assert work(folder) == 0, runs.events(folder)[-1]
    return folder


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_that_writes_marks_words_by_their_last_tokens(decoder: Path, tmp_path: Path) -> None:
    from engine.compute.result import open_result

    done = runs.events(decoder)[-1]["metrics"]
    assert done["after"]["entity_f1"] > done["before"]["entity_f1"]
    notices = " ".join(event["text"] for event in runs.events(decoder) if event["type"] == "notice")
    assert "reads from left to right" in notices and "embedded:minilm" in notices
    kept = json.loads((decoder / "model" / "classifier.json").read_text(encoding="utf-8"))
    assert (kept["pipeline"], kept["answers_at_end"]) == (False, True)
    job, model = open_result(decoder)
    ours = job.objective.marks(job, model, Example(1, text=TEXT))
    assert ours and all(TEXT[mark.begin : mark.end].strip() for mark in ours)
    code = snippets.marked(snippets.Source(str(decoder / "model"), "whole", "", on_hub=False), False, at_end=True)
    assert marked_by(code).splitlines() == [f"{mark.label} {TEXT[mark.begin : mark.end]}" for mark in ours]
    alone = export(decoder, "script", tmp_path / "alone")
    theirs = [float(loss) for loss in re.findall(r"loss ([\d.]+)", scripts.run(alone, job.model_folder))]
    told = [e["loss"] for e in runs.events(decoder) if e["type"] == "progress" and e.get("loss") is not None]
    assert [theirs[0], theirs[-1]] == pytest.approx([told[0], told[-1]], rel=1e-4)


def test_a_talk_answers_with_marks_and_refuses_two_texts(trained: Path) -> None:
    from engine.compute.chat import Talk

    sent: list[Any] = []
    Talk().handle({"run_folder": str(trained), "base": False, "text": f"{TEXT} " * 8}, sent.append, lambda: False)
    (found,) = sent
    assert len(found) == 16 and all(len(mark) == 4 for mark in found)
    assert kinds.of_folder(trained / "model").marks_words
    with pytest.raises(DataError, match="reads one text"):
        Talk().handle(
            {"run_folder": str(trained), "base": False, "text": TEXT, "second": "b"}, sent.append, lambda: False
        )


@pytest.mark.parametrize("family", models.MASKED_FAMILIES)
def test_the_head_is_that_of_transformers_where_its_class_has_one_layer(family: str) -> None:
    from types import SimpleNamespace

    import torch
    import transformers

    from engine.compute.marked import has_class

    small: dict[str, Any] = {
        "hidden_size": 32,
        "dim": 32,
        "num_hidden_layers": 1,
        "n_layers": 1,
        "vocab_size": 80,
        "pad_token_id": 0,
    }
    small |= {"num_attention_heads": 4, "n_heads": 4, "embedding_size": 16, "intermediate_size": 64, "hidden_dim": 64}
    small |= dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 1)
    config = transformers.AutoConfig.for_model(family, **small)
    model: Any = SimpleNamespace(config=config, head=torch.nn.Linear(32, 3))
    job: Any = SimpleNamespace(labels=["O", "B-x", "I-x"])
    assert has_class(job, model) is (family != "modernbert")


# What is refused


@pytest.mark.parametrize(
    ("make", "tuner", "reason"),
    [
        (models.tiny_decoder, "head", "fits a classifier to one vector for each text"),
        (models.tiny_encoder, "head", "fits a classifier to one vector for each text"),
    ],
)
def test_what_cannot_mark_words_is_refused_with_the_reason(
    make: Callable[[Path], Path], tuner: str, reason: str, tmp_path: Path
) -> None:
    run = spec(make(tmp_path / "base"), tuner)
    with pytest.raises(SettingError, match=reason):
        require_pair(run, facts(run.model))


@pytest.mark.parametrize(("name", "value"), [("class_weights", "balanced"), ("threshold", 0.4)])
def test_settings_that_do_nothing_are_refused(name: str, value: Any, base: Path, tmp_path: Path) -> None:
    run = runs.spec(base, {"name": "classify", name: value}, "full")
    with pytest.raises(SettingError, match="marked words"):
        open_job(runs.folder(tmp_path / "run", run, rows()), str)


def test_the_plan_says_in_how_many_parts_texts_are_read(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"text": row.text, "entities": row.marks}) + "\n" for row in rows(long=True)),
        encoding="utf-8",
    )
    run = RunSpec.parse({**spec(base, max_tokens=40).as_dict(), "data": [{"source": str(path)}]})
    made = explain(run)
    assert any("are read in" in reason and "nothing is left out" in reason for reason in made.plan.reasons)
    assert made.lengths.truncated == 0 and not any("cut" in caution for caution in made.cautions)


# Scores


def scored(number: int, expected: list[Any], given: list[Any]) -> ScoredRow:
    whole = len(expected) + len(given)
    score = 2 * len(set(expected) & set(given)) / whole if whole else 1.0
    return ScoredRow(number, "a b c d", "", "", score, 0.1, marks={"expected": expected, "given": given})


A, B, C = (0, 1, "x"), (2, 3, "x"), (4, 5, "y")


def test_scores_are_those_of_conll() -> None:
    found = mark_scores(
        [
            {"expected": [A, B], "given": [A, (2, 3, "y")]},
            {"expected": [C], "given": [C]},
            {"expected": [], "given": []},
        ]
    )
    assert (found["entity_precision"], found["entity_recall"], found["entity_f1"]) == pytest.approx(
        (2 / 3, 2 / 3, 2 / 3)
    )
    assert found["entity_macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found["entity_f1_low"] <= found["entity_f1"] <= found["entity_f1_high"]
    nothing = mark_scores([{"expected": [A], "given": []}] * 5)
    assert nothing["entity_f1"] == 0 and nothing["entity_f1_high"] > 0.3  # five rows are no proof
    assert mark_scores([{"expected": [], "given": []}])["entity_f1"] == 1.0


def test_what_changed_is_the_f1_of_all_marks_with_rows_drawn_in_pairs() -> None:
    before = [scored(n, [A, B], []) for n in range(10)] + [
        scored(99, [C] + [(n, n + 1, "x") for n in range(9, 20)], [])
    ]
    after = [scored(n, [A, B], [A, B]) for n in range(10)] + [before[-1]]
    found = pairing.of_rows(before, after)
    assert found.mean == pytest.approx(pairing.figure(after)) and found.mean == pytest.approx(2 * 20 / (32 + 20))
    assert (found.up, found.down, found.rows) == (10, 0, 11) and found.certain
    assert not pairing.of_rows(before[:4], after[:4]).certain  # too few changed


def test_each_wrong_mark_is_told_by_what_was_expected() -> None:
    rows = [
        scored(1, [A, B, C], [A, (2, 3, "y"), (4, 6, "y")]),
        scored(2, [A], []),
        scored(3, [], [C]),
    ]
    found = by_label([], rows)
    assert found is not None and found.after.marks == 4
    told = {(one.expected, one.answer): (one.rows, one.of) for one in found.after.mistakes}
    assert told == {
        ("x", "y"): (1, 3),
        ("y", "y, other edges"): (1, 1),
        ("x", "(no mark)"): (1, 3),
        ("(no mark)", "y"): (1, 4),
    }
    x = next(one for one in found.after.labels if one.label == "x")
    assert (
        (x.rows, x.answered, x.right) == (3, 1, 1) and x.recall is not None and x.recall.value == pytest.approx(1 / 3)
    )
    assert any("expected x, got y" in line for line in found.lines())


# The page


def test_a_marked_text_says_each_label_in_words_and_escapes_what_it_shows() -> None:
    shown = marking.marked("<Anna> in Bern", [(1, 5, "per"), (10, 14, "<loc>")])
    assert shown == (
        "&lt;<mark class='ts-marked'>Anna <b>per</b></mark>&gt; in <mark class='ts-marked'>Bern <b>&lt;loc&gt;</b></mark>"
    )
    assert marking.marked("Anna in Bern", [(0, 4, "per"), (8, 12, "loc")], most=10).endswith("</mark> in …")
    said = run_screen.marked("Anna", [Marked("per", 0.75, 0, 4)])
    assert "1 mark." in said and "75.0 %" in said
    assert "Nothing is marked in it." in run_screen.marked("Anna", [])
