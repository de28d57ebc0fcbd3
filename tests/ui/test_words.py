"""Markup of findings, plans and rows: nothing of a person's or a model's gets through as markup."""

from __future__ import annotations

from engine.data.example import Example
from engine.errors import SettingError
from engine.texts.preview import PreviewRow
from ui import words

EVIL = "<script>alert(1)</script>"


def test_learned_tokens_are_marked_together() -> None:
    row = PreviewRow(1, Example(1), pieces=[("ask ", False), ("ca", True), ("rd", True)], tokens=3, learned=2)
    assert "ask <mark>card</mark>" in words.preview([(row, {})])


def test_text_of_rows_stays_text() -> None:
    row = PreviewRow(1, Example(1), pieces=[(EVIL, True)], tokens=1, learned=1)
    broken = PreviewRow(2, Example(2), problem=EVIL)
    assert EVIL not in words.preview([(row, {EVIL: EVIL}), (broken, {})])


def test_a_failure_lists_every_refused_value_as_text() -> None:
    told = words.failure(SettingError([f"Rank is {EVIL}.", "Passes is 0."], "Change them."))
    assert EVIL not in told and "Passes is 0." in told and "Change them." in told


def test_a_row_to_be_labelled_is_not_told_as_something_to_write() -> None:
    row = PreviewRow(1, Example(1), pieces=[("a text", True)], tokens=3, learned=3)
    told = words.preview([(row, {})], answers=False)
    assert "learns which label goes with it" in told and "of them learned" not in told and "to write" not in told
    assert "3 tokens, 3 of them learned" in words.preview([(row, {})])
