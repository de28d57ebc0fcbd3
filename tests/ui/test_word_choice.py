"""What the page says of words that were proposed for labels."""

from __future__ import annotations

from engine.word_choice import Proposal
from ui.screens.word_choice import shown


def test_each_label_has_a_line_with_its_word_and_why() -> None:
    text = shown([Proposal("ham", "ok", 1.0, ["later", "home"]), Proposal("spam", "free", 0.0, [])], 2)
    assert "<th scope='row'>ham</th><td>ok</td><td>2.7</td><td>later, home</td>" in text
    assert "<td>free</td><td>1.0</td><td>–</td>" in text and "no word was left" not in text


def test_labels_and_words_are_no_markup_and_what_is_missing_is_told() -> None:
    text = shown([Proposal("<b>", "<i>", 0.5, ["<u>"])], 3)
    assert "<b>" not in text and "<i>" not in text and "<u>" not in text and "&lt;b&gt;" in text
    assert "For 2 no word was left; their own names stand in." in text
