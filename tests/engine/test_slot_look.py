"""What a template and label words come to while somebody writes them: without a model, and with its tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SettingError
from engine.objectives.cloze import METHOD
from engine.settings import parse
from engine.texts import label_words
from engine.texts.preview import Previewer
from engine.texts.slot_look import Asked, Split, look
from engine.texts.tokens import Tokens
from tests.fakes import models

ASKED = Asked("{text}\nIt is {label}, dear.", "", ["card_arrival", "fee"], "Where is it?", masked=False)


@pytest.fixture(scope="module")
def previewer() -> Iterator[Previewer]:
    previewer = Previewer()
    yield previewer
    previewer.close()


def split(**words: tuple[int, ...]) -> Any:
    """A tokenizer that gives these labels these tokens."""
    return lambda asked: [[Split(label, f"w{label}", ids, tuple(map(str, ids))) for label, ids in words.items()]]


def test_a_row_stands_in_each_template_with_the_slot_between() -> None:
    (one,) = look(ASKED).filled
    assert (one.parts, one.unread) == (("Where is it?\nIt is ", ""), ", dear.")
    both = look(replace(ASKED, masked=True, template="{text} {label}!\n---\nTopic {label}: {text}")).filled
    assert [(one.parts, one.unread) for one in both] == [
        (("Where is it? ", "!"), ""),
        (("Topic ", ": Where is it?"), ""),
    ]
    (faulty,) = look(replace(ASKED, template="{label} or {label}")).filled
    assert faulty.parts == ("", " or ", "") and faulty.unread == ""


def test_labels_without_a_line_have_their_own_names() -> None:
    words = look(replace(ASKED, words="fee = cost")).words
    assert [(one.label, one.word, one.is_own_name) for one in words] == [
        ("card_arrival", "card arrival", True),
        ("fee", "cost", False),
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"template": "{text} is what?"}, r"needs one \{label\}.*write it where that belongs"),
        ({"template": "{label} {text} {label}"}, r"one \{label\}.*stands there 2 times: leave one"),
        ({"template": "{text} {label}\n---\nTopic: {label}"}, r"Template 2 needs one \{text\}"),
        ({"template": "{label}: {text}"}, r"reads forward\. Put \{text\} first"),
        ({"words": "fee ="}, r"Line 1 of the label words has no word; write one after"),
        ({"words": "\n= cost"}, r"Line 2 of the label words has no label; write the label before"),
        ({"words": "fee cost"}, r"Line 1 of the label words has no '='\. Write it as: label = word"),
        ({"words": "fee = a\nfee = b"}, r"Line 2 of the label words is the second for 'fee'; leave one"),
        ({"words": "feee = a"}, r"Line 1.*no row has the label 'feee'\. Did you mean 'fee'\?"),
    ],
)
def test_each_fault_is_told_with_what_to_do_and_is_one_to_the_settings_too(changes: dict[str, str], told: str) -> None:
    asked = replace(ASKED, **changes)
    (problem,) = look(asked).problems
    assert re.search(told, problem), problem
    assert len(look(asked).words) == 2
    if "no row has" in problem or "forward" in problem:  # known only with rows and a model
        return
    with pytest.raises(SettingError):
        parse(METHOD.Settings, {"template": asked.template, "label_words": asked.words}, "objective")


def test_a_template_that_the_settings_take_has_no_fault() -> None:
    assert look(ASKED).problems == [] and look(ASKED).remark == ""
    assert look(replace(ASKED, template=METHOD.Settings().template)).problems == []


def test_equal_and_unknown_words_stand_in_the_way_and_equal_beginnings_do_not() -> None:
    asked = replace(ASKED, labels=["a", "b", "c"])
    found = look(asked, split(a=(1, 2), b=(1, 2), c=(1, 3)))
    (problem,) = found.problems
    assert "'wa' of 'a' and 'wb' of 'b' are the same tokens" in problem and "another word" in problem
    assert found.words[0].note == "the same as that of 'b': nothing tells them apart"
    assert found.words[2].note == "begins as that of 'a' and 1 more does: what follows tells them apart"
    unknown = [[Split("a", "x", (7,), ("?",), known=False), Split("b", "y", (8,), ("y",))]]
    found = look(replace(ASKED, labels=["a", "b"]), lambda asked: unknown)
    assert found.problems == ["The model has no tokens for 'x', the word of 'a'; choose another."]


def test_what_several_tokens_mean_is_told_with_what_they_cost() -> None:
    asked = replace(ASKED, labels=["a", "b"])
    told = look(asked, split(a=(1,), b=(2, 3))).remark
    assert told.startswith("1 of 2 words is several tokens") and "by the mean of its pieces'" in told
    assert "read 2 times" not in told  # a causal model reads what one word begins with
    told = look(replace(asked, masked=True, normalised=False), split(a=(1,), b=(2, 3))).remark
    assert "by the sum of its pieces'" in told and "each row is read 2 times" in told
    assert look(asked, split(a=(1,), b=(2,))).remark == ""


@pytest.mark.parametrize("kind", ["decoder", "masked"])
def test_words_are_split_as_the_run_will_split_them(kind: str, previewer: Previewer, tmp_path: Path) -> None:
    masked = kind == "masked"
    base = (models.tiny_masked_encoder if masked else models.tiny_decoder)(tmp_path / "base")
    tokens = Tokens.load(base)
    asked = replace(ASKED, words="fee = café cost", template="{text} It is {label}.\n---\n{text}\nTopic:{label}")
    asked = replace(asked, masked=masked)
    made = parse(METHOD.Settings, {"template": asked.template}, "objective").templates(masked)
    splits = previewer.words(base, asked)
    words = {"card_arrival": "card arrival", "fee": "café cost"}
    for own, template in zip(splits, made, strict=True):
        assert {one.label: one.word for one in own} == words
        for one in own:
            assert one.ids == label_words.word_ids(tokens, template, one.word) and one.known
            assert "".join(one.pieces).replace(" ", "") == one.word.replace(" ", "")
    assert previewer.words(base, replace(asked, template="nothing"))  # words are shown beside a broken template
    found = look(asked, lambda one: previewer.words(base, one))
    assert found.words[1].tokens == max(len(own[1].ids) for own in splits)
