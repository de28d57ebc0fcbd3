"""Where two tokenizers go on from the same text, against what their tokens say when they are decoded."""

from __future__ import annotations

import pytest

from engine.texts.alignment import Steps, paired, steps
from engine.texts.tokens import Tokens
from tests.fakes import models

CHAT = [
    {"role": "user", "content": "Which rate do you use?"},
    {"role": "assistant", "content": "The exchange rate, as it is. Ünïcode 猫 too!"},
    {"role": "user", "content": "And the fee?"},
    {"role": "assistant", "content": "card_arrival transfer fee"},
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokens, Tokens]:
    place = tmp_path_factory.mktemp("base")
    return Tokens.load(models.tiny_decoder(place / "one")), Tokens.load(models.tiny_foreign_decoder(place / "other"))


def test_pairs_go_on_from_the_same_text_and_none_is_left_out(both: tuple[Tokens, Tokens]) -> None:
    mine, theirs = (tokens.steps(CHAT, 1000) for tokens in both)
    assert mine.ids != theirs.ids
    found = paired(mine, theirs)
    before = [
        [tokens.decode(made.ids[: pair[side]], skip_special=False) for pair in found]
        for side, (tokens, made) in enumerate(zip(both, (mine, theirs), strict=True))
    ]
    assert before[0] == before[1] and len(set(before[0])) == len(found)
    assert found == sorted(found) and [pair[1] for pair in found] == sorted(pair[1] for pair in found)
    every = [
        {tokens.decode(made.ids[:place], skip_special=False) for place in made.places.values()}
        for tokens, made in zip(both, (mine, theirs), strict=True)
    ]
    assert set(before[0]) == {text for text in every[0] & every[1] if "\ufffd" not in text}
    assert len(found) > 20  # among them: where each answer begins, and where it ends
    assert sum(text.endswith("assistant\n") for text in before[0]) == 2
    assert sum(text.endswith(str(CHAT[3]["content"])) for text in before[0]) == 1


def test_learned_tokens_alone_have_places_and_what_is_cut_has_none(both: tuple[Tokens, Tokens]) -> None:
    encoded, made = both[0].encode_chat(CHAT, 40), both[0].steps(CHAT, 40)
    assert made.ids == encoded.ids
    assert all(encoded.learned[place] for place in made.places.values())
    assert 0 < len(made.places) <= sum(encoded.learned)


def test_answers_that_a_template_changes_are_held_against_each_other_as_far_as_they_are_alike() -> None:
    one = steps([1, 2, 3, 4], [(0, 2), (2, 4), (4, 6), (6, 8)], [False, True, True, True], "Q:abcdEE", [(2, 8)])
    other = steps([7, 8, 9], [(0, 2), (2, 4), (4, 8)], [False, True, True], "Q:abXYEE", [(2, 8)])
    assert one.answers == ["abcdEE"] and one.places == {(0, 0): 1, (0, 2): 2, (0, 4): 3}
    assert paired(one, other) == [(1, 1), (2, 2)]
    assert paired(one, Steps([], {}, [])) == []
