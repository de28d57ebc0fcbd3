"""Preference pairs: which rows have a better and a worse answer that differ."""

from __future__ import annotations

from typing import Any

from engine.data import columns
from engine.data.rows import RowProblem, Table


def problems(table: Table) -> list[RowProblem]:
    """Rows whose chosen or rejected answer is missing or empty, or whose two answers are the same."""
    names = {columns.normal(name): name for name in table.columns}
    found = []
    for number, place, row in zip(table.numbers, table.places, table.rows, strict=True):
        chosen, rejected = (_said(row.get(names[role])) for role in ("chosen", "rejected"))
        if not chosen:
            problem = "The chosen answer is missing or empty."
        elif not rejected:
            problem = "The rejected answer is missing or empty."
        elif chosen == rejected:
            problem = "The chosen and the rejected answer are the same."
        else:
            continue
        found.append(RowProblem(number, place, problem, "Give two answers that differ, or leave the row out."))
    return found


def _said(value: Any) -> str:
    """The text of an answer, which may be a text, a turn, or turns of which the last counts."""
    turns = columns.turns(value)
    if turns:
        value = turns[-1]
    if isinstance(value, dict):
        value = value.get("value", value.get("content"))
    return value.strip() if isinstance(value, str) else ""
