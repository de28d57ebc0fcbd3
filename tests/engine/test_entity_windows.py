"""Words, tags and windows: nothing of a long text is lost, and each word counts once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from engine.data.example import Example
from engine.texts.entity_tags import first_tokens, last_tokens, marks_of, tags_of, word_tags, words_of
from engine.texts.entity_windows import parts, windows
from engine.texts.tokens import Tokens
from tests.fakes import models

TEXT = " ".join(f"My card {n}, the fee of Anna-{n} in Zürich." for n in range(40))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens.load(models.tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("U.S. isn't 1,000", ["U", ".", "S", ".", "isn", "'", "t", "1", ",", "000"]),
        ("東京へ Tokyo2", ["東", "京", "へ", "Tokyo2"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("Zu\u0308rich", ["Zu\u0308rich"]),
        ("", []),
    ],
)
def test_words_are_letters_in_a_row_or_single_signs(text: str, words: list[str]) -> None:
    assert [text[begin:end] for begin, end in words_of(text)] == words


def test_tags_of_tokens_come_back_as_the_marks_that_they_were_made_of(tokens: Tokens) -> None:
    spans = [(0, 2, "who"), (3, 7, "thing"), (15, 18, "thing")]
    encoded = tokens.encode_places(TEXT)
    tags = tags_of(encoded.places, spans)
    assert tags[0] is None and tags[-1] is None and len(tags) == len(encoded.ids)
    assert sum(tag is not None and tag.startswith("B-") for tag in tags) == 3
    words = words_of(TEXT)
    own = [str(tags[token]) for token in first_tokens(words, encoded.places)]
    assert [mark[:3] for mark in marks_of(words, own)] == spans


def test_read_from_left_to_right_a_word_is_known_at_its_last_token(tmp_path: Path) -> None:
    """Neighbours of one label among them, whose words are several tokens each."""
    spans = [(0, 2, "who"), (3, 7, "who"), (15, 18, "thing"), (22, 28, "who"), (32, 38, "place")]
    encoded = Tokens.load(models.tiny_decoder(tmp_path / "decoder")).encode_places(TEXT)
    tags = word_tags(TEXT, encoded.places, spans)
    assert len(tags) == len(encoded.ids)
    words = words_of(TEXT)
    ends = last_tokens(words, encoded.places)
    assert any(end > first for first, end in zip(first_tokens(words, encoded.places), ends, strict=True))
    assert [mark[:3] for mark in marks_of(words, [str(tags[token]) for token in ends])] == spans
    inside = word_tags(TEXT, encoded.places, spans, core=(3, 20))
    counted = {word for word, token in zip(words, ends, strict=True) if inside[token] is not None}
    assert counted == {word for word in words if 3 <= word[0] < 20}


def test_neighbours_of_one_label_stay_two_marks_and_a_lone_i_begins_one() -> None:
    words = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert [mark[:3] for mark in marks_of(words, ["B-a", "B-a", "I-a", "I-b"])] == [
        (0, 1, "a"),
        (2, 5, "a"),
        (6, 7, "b"),
    ]


@pytest.mark.parametrize("most", [12, 20, 64, 300])
def test_windows_have_room_overlap_and_each_word_counts_in_one(most: int, tokens: Tokens) -> None:
    found = windows(tokens, TEXT, most)
    assert all(len(tokens.encode_places(TEXT[one.begin : one.end]).ids) <= most for one in found)
    assert found[0].begin == found[0].core[0] == 0 and found[-1].end == found[-1].core[1] == len(TEXT)
    for before, after in pairwise(found):
        assert before.core[1] == after.core[0] and after.begin <= after.core[0] <= before.end
        assert after.begin < before.end
    for begin, end in words_of(TEXT):
        (own,) = [one for one in found if one.core[0] <= begin < one.core[1]]
        assert own.begin <= begin and (end <= own.end or most < 20)


def test_parts_learn_each_token_once_with_the_tags_of_the_whole(tokens: Tokens) -> None:
    spans = [(begin, end, "thing") for begin, end in words_of(TEXT) if TEXT[begin:end] in ("card", "fee", "Anna")]
    row = Example(1, text=TEXT, marks=spans)
    made = parts(row, tokens, 40)
    assert len(made) > 5 and parts(row, tokens, 4000) == [row]
    whole = [tag for tag in tags_of(tokens.encode_places(TEXT).places, spans) if tag]
    learned = [
        tag
        for part in made
        for tag in tags_of(tokens.encode_places(part.text).places, part.marks or [], part.core)
        if tag
    ]
    assert learned == whole


def test_a_mark_that_began_in_an_earlier_part_goes_on(tokens: Tokens) -> None:
    assert tags_of([(0, 0), (0, 4), (5, 7)], [(-3, 4, "per")]) == [None, "I-per", "O"]


def test_where_no_token_has_room_it_is_said(tokens: Tokens) -> None:
    with pytest.raises(ValueError, match="leave no room"):
        windows(tokens, TEXT, 3)
