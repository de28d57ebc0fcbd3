"""Prompt templates: 'Summarise: {text}'. Columns in braces are filled in once; braces in the data stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.data import columns
from engine.data.rows import Table
from engine.errors import DataError

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def needed(template: str, table: Table, roles: Mapping[str, str]) -> dict[str, str]:
    """The column behind each name in the template: the column of this name, or the one that plays this part.

    Raises DataError for a name that is neither, and for a template without any.
    """
    found: dict[str, str] = {}
    for match in _PART.finditer(template):
        name = match.group(1)
        if name is None:
            continue
        column = name if name in table.columns else roles.get(name)
        if column is None:
            error = columns.missing(table, name)
            raise DataError(
                f"The prompt template asks for {{{name}}}: {error.problem}", f"{error.fix} Braces as text: {{{{ }}}}."
            )
        found[name] = column
    if not found:
        raise DataError(
            "The prompt template names no column, so every row would be the same.", "Add one, such as {text}."
        )
    return found


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its names replaced; doubled braces become single ones."""
    return _PART.sub(lambda match: match.group()[0] if match.group(1) is None else values[match.group(1)], template)
