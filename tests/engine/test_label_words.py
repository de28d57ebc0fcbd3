"""Templates, the words that stand for labels, and rows in both: without a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import objectives
from engine.bases import catalog, models
from engine.compute.preview import counted
from engine.data.example import Example
from engine.data.prepare import Prepared
from engine.errors import SettingError
from engine.objectives.cloze import METHOD
from engine.planning import speed
from engine.planning.explain import explain
from engine.runs import store
from engine.settings import parse
from engine.specs.sections import Model
from engine.specs.spec import RunSpec
from engine.texts import label_words
from engine.texts.label_words import Slot, Template
from engine.texts.tokens import Tokens
from tests.fakes import models as fakes
from tests.fakes import runs

CARD, FEE = Example(1, text="Where is my card?", label="card_arrival"), Example(2, text="A fee?", label="fee")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return {
        "decoder": fakes.tiny_decoder(place / "decoder"),
        "masked": fakes.tiny_masked_encoder(place / "masked"),
        "bare": fakes.tiny_encoder(place / "bare"),
    }


def settings(**values: Any) -> Any:
    return parse(METHOD.Settings, values, "objective")


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ("{text} is what?", r"one \{label\}.*missing"),
        ("{label} {text} {label}", r"one \{label\}.*2 times"),
        ("Category: {label}", r"one \{text\}.*missing"),
        ("{text}: {label}\n---\n{label}", r"one \{text\}.*missing"),
    ],
)
def test_a_template_has_one_place_for_the_text_and_one_slot(template: str, wrong: str) -> None:
    with pytest.raises(SettingError, match=rf"(?s)Template \(objective\.template\).*{wrong}"):
        settings(template=template)


def test_space_before_the_slot_is_the_words_and_templates_are_told_apart_by_a_line() -> None:
    first, second = label_words.templates("{text}\nIs it {label}?\n---\nTopic {label}: {text}\n")
    assert first == Template("{text}\nIs it", " ", "?")
    assert second == Template("Topic", " ", ": {text}")
    assert first.text_first and not second.text_first


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [("good", "'good' is none"), ("= good", "'= good' is none"), ("a = b\na = c", "two for 'a'")],
)
def test_label_words_are_lines_of_label_and_word(lines: str, wrong: str) -> None:
    with pytest.raises(SettingError, match=rf"(?s)Label words \(objective\.label_words\).*{wrong}"):
        settings(label_words=lines)


def test_a_label_may_hold_an_equals_sign_and_breaks() -> None:
    found = label_words.given("a = b = c\n\n x y = z ")
    assert label_words.word_of("a = b", found) == "c" and label_words.word_of("x \n y", found) == "z"
    assert label_words.given(label_words.written(found)) == found


def test_a_label_without_a_word_is_called_by_its_own_name() -> None:
    assert label_words.word_of("card__arrival", {}) == "card arrival"
    assert label_words.word_of("__", {}) == "__"


def resolved(tiny: dict[str, Path], words: dict[str, str], labels: list[str]) -> dict[str, str]:
    tokens = Tokens.load(tiny["decoder"])
    return label_words.resolved(tokens, label_words.templates("{text}: {label}"), words, labels)


def test_proposals_that_would_be_the_same_tokens_are_made_different(tiny: dict[str, Path]) -> None:
    assert resolved(tiny, {}, ["a b", "a_b", "a__b"]) == {"a b": "a b", "a_b": "a_b", "a__b": "a__b"}
    assert resolved(tiny, {"a b": "a_b"}, ["a_b", "a b"]) == {"a_b": "a b", "a b": "a_b"}
    assert resolved(tiny, {"x": "_", "y": "__"}, ["_", "__", "x", "y"])["_"] == "_ 2"


def test_two_labels_with_one_word_are_refused_by_name(tiny: dict[str, Path]) -> None:
    with pytest.raises(SettingError, match=r"'good' of 'a' and 'good' of 'b' are the same tokens"):
        resolved(tiny, {"a": "good", "b": "good"}, ["a", "b"])


def test_a_word_for_a_label_that_is_not_there_is_refused_with_what_is_near(tiny: dict[str, Path]) -> None:
    with pytest.raises(SettingError, match=r"no row has the label 'hem'\. Did you mean 'ham'\?"):
        resolved(tiny, {"hem": "fine"}, ["ham", "spam"])


def test_a_causal_model_reads_once_for_words_of_one_token() -> None:
    assert label_words.slot([(5,), (7,)], None) == Slot(((),), (((0, -1, 5),), ((0, -1, 7),)))


def test_a_causal_model_reads_words_that_begin_alike_together() -> None:
    found = label_words.slot([(5,), (5, 6), (5, 6, 7), (8, 9)], None)
    assert found.fillings == ((5, 6), (8,))
    assert found.targets == (
        ((0, -1, 5),),
        ((0, -1, 5), (0, 0, 6)),
        ((0, -1, 5), (0, 0, 6), (0, 1, 7)),
        ((1, -1, 8), (1, 0, 9)),
    )


def test_a_masked_model_reads_once_for_each_length_of_words() -> None:
    found = label_words.slot([(5,), (6, 7), (8,)], mask=1)
    assert found == Slot(((1,), (1, 1)), (((0, 0, 5),), ((1, 0, 6), (1, 1, 7)), ((0, 0, 8),)))


@pytest.mark.parametrize(
    ("kind", "template", "shown"),
    [
        ("decoder", "{text}\nCategory: {label}.", "Where is my card?\nCategory:[ card arrival]"),
        ("masked", "{text}\nCategory: {label}.", "<s>Where is my card?\nCategory:[ card arrival].</s>"),
        ("masked", "This is {label}: {text}", "<s>This is[ card arrival]: Where is my card?</s>"),
    ],
)
def test_a_row_is_the_whole_filled_prompt_with_the_word_learned(
    kind: str, template: str, shown: str, tiny: dict[str, Path]
) -> None:
    tokens = Tokens.load(tiny[kind])
    encoded = METHOD.encode(CARD, tokens, settings(template=template), 100)
    pieces = tokens.pieces(encoded)
    learned = "".join(text for text, own in pieces if own)
    assert "".join(text for text, _ in pieces).replace(learned, f"[{learned}]") == shown
    assert encoded.full_length == len(encoded.ids)


@pytest.mark.parametrize("kind", ["decoder", "masked"])
@pytest.mark.parametrize("template", ["News: {text}\nCategory: {label}.", "{label}? {text} So it is."])
def test_only_the_text_of_a_long_row_is_cut(kind: str, template: str, tiny: dict[str, Path]) -> None:
    tokens = Tokens.load(tiny[kind])
    if kind == "decoder":
        template = "News: {text}\nCategory: {label}"
    long = replace(CARD, text="the card and " * 30)
    whole, cut = (METHOD.encode(long, tokens, settings(template=template), most) for most in (1000, 60))
    assert len(cut.ids) == 60 and cut.truncated and cut.full_length == whole.full_length == len(whole.ids)
    assert sum(cut.learned) == sum(whole.learned)
    before, _, after = template.replace("{label}", "card arrival").partition("{text}")
    shown = tokens.decode(cut.ids)
    assert shown.startswith(before) and shown.endswith(after if kind == "masked" else "Category: card arrival")
    assert "the card and the card" in shown


def test_a_template_that_leaves_no_room_is_refused(tiny: dict[str, Path]) -> None:
    tokens = Tokens.load(tiny["decoder"])
    with pytest.raises(SettingError, match=r"Template \(objective\.template\) leaves no room"):
        METHOD.encode(CARD, tokens, settings(template="A template of many words, {text}, and more: {label}"), 20)


def test_templates_take_turns_by_the_rows_number(tiny: dict[str, Path]) -> None:
    tokens, made = Tokens.load(tiny["decoder"]), settings(template="{text} A {label}\n---\n{text} B {label}")
    shown = [tokens.decode(METHOD.encode(replace(CARD, row=row), tokens, made, 100).ids) for row in (1, 2, 3, 4)]
    assert [" A " in text for text in shown] == [False, True, False, True]


def test_a_cut_row_counts_its_word_as_learned(tiny: dict[str, Path]) -> None:
    encoded = METHOD.encode(CARD, Tokens.load(tiny["decoder"]), settings(), 1000)
    full, spans = counted(encoded, METHOD.fills_slot)
    assert (full, spans) == (len(encoded.ids), [[0, sum(encoded.learned)]])


# Settled on a model and rows


def test_a_causal_model_has_to_read_the_text_before_the_slot(tiny: dict[str, Path]) -> None:
    late = settings(template="{label}: {text}")
    with pytest.raises(SettingError, match=r"\{text\} stands after \{label\}"):
        METHOD.settled(late, tiny["decoder"], [CARD, FEE])
    assert METHOD.settled(late, tiny["masked"], [CARD, FEE]).label_words == "card_arrival = card arrival\nfee = fee"


def test_words_of_several_tokens_are_told_with_their_number(tiny: dict[str, Path]) -> None:
    split = METHOD.settled(settings(label_words="fee = fee\ncard_arrival = qqq"), tiny["decoder"], [CARD, FEE])
    told = " ".join(METHOD.remarks(split))
    count = len(
        label_words.word_ids(Tokens.load(tiny["decoder"]), label_words.templates("{text}\nCategory: {label}")[0], "qqq")
    )
    assert count > 1 and f"'qqq' ({count})" in told and "label words are several tokens" in told


def test_few_rows_of_each_label_are_drawn_by_the_seed_and_held_out_ones_kept() -> None:
    rows = [Example(n, "test" if n > 18 else "train", text=f"text {n}", label="ab"[n % 2]) for n in range(1, 21)]
    drawn = METHOD.chosen(rows, settings(few_shot_rows=3), seed=1)
    train = [row for row in drawn if row.split == "train"]
    assert sorted(row.label for row in train) == ["a"] * 3 + ["b"] * 3
    assert [row for row in drawn if row.split == "test"] == rows[18:]
    assert (
        drawn
        == METHOD.chosen(rows, settings(few_shot_rows=3), seed=1)
        == METHOD.chosen(drawn, settings(few_shot_rows=3), seed=9)
    )
    assert drawn != METHOD.chosen(rows, settings(few_shot_rows=3), seed=2)
    assert METHOD.chosen(rows, settings(), seed=1) == rows


def few(model: Path) -> RunSpec:
    record = runs.spec(model, "cloze", "lora").as_dict()
    return RunSpec.parse({**record, "objective": {"name": "cloze", "few_shot_rows": 1}})


def test_the_plan_tells_what_is_left_out_and_the_run_has_few_rows(
    tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "of", lambda *given, **how: None)
    prepared = Prepared(runs.examples("labelled"), [], [], [])
    found = explain(few(tiny["decoder"]), prepared)
    assert found.rows == {"train": 3, "validation": 2, "test": 2}
    assert any("3 rows are learned from, at most 1 of each label" in line for line in found.lines())
    run = store.create(few(tiny["decoder"]), prepared)
    assert len((run.folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()) == 7


def test_an_encoder_without_a_masked_language_head_is_refused_with_the_reason(tiny: dict[str, Path]) -> None:
    for name in (str(tiny["bare"]), catalog.MINILM.id):
        assert "needs a head that guesses masked words" in (METHOD.refuses(models.facts(Model(id=name))) or "")
    for name in (str(tiny["masked"]), str(tiny["decoder"]), catalog.SMOLLM2.id):
        assert METHOD.refuses(models.facts(Model(id=name))) is None


def test_encoders_of_the_catalogue_are_known_to_have_one() -> None:
    known = [models.catalog_facts(entry) for entry in catalog.HUB]
    assert [METHOD.refuses(facts) for facts in known] == [None] * len(known)


def test_a_classifiers_layers_are_no_masked_language_head() -> None:
    from engine.bases.architecture import layers

    shapes = {"model.embeddings.tok_embeddings.weight": (9, 4), "head.dense.weight": (4, 4)}
    config = {"model_type": "modernbert", "vocab_size": 9}
    assert layers(config, {**shapes, "classifier.bias": (2,)}).mlm_head_parameters == 0
    assert layers(config, {**shapes, "decoder.bias": (9,)}).mlm_head_parameters == 16 + 9


def test_classifiers_on_fixed_features_are_refused() -> None:
    from engine import tuners
    from engine.methods.objective import pair_refusal

    assert "one vector for each text" in (pair_refusal(objectives.get("cloze"), tuners.get("head")) or "")
