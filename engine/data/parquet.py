"""Parquet files, by pyarrow."""

from __future__ import annotations

import io
import json
from typing import Any

from engine.data.rows import Table, check_bytes, check_rows, column_names
from engine.errors import DataError


def read(data: bytes, name: str) -> Table:
    """A table with values as Python has them. Class numbers of a Hub data set become the names they stand for."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
        check_rows(file.metadata.num_rows, name)
        groups = range(file.metadata.num_row_groups)
        check_bytes(sum(file.metadata.row_group(group).total_byte_size for group in groups), name)
        content = file.read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name} is not a whole Parquet file: {error}.", "Write or get it again.") from None
    if not content.num_rows:
        raise DataError(f"{name} has no rows.", "Give a file with at least one row.")
    names, notices = column_names(content.column_names)
    values = [column.to_pylist() for column in content.columns]
    for index, classes in _classes(content.schema.metadata, content.column_names).items():
        values[index] = [named(classes, value) for value in values[index]]
        notices.append(f"The class numbers of {names[index]!r} were replaced by their names.")
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*values, strict=True)]
    return Table(names, rows, [f"row {number}" for number in range(1, len(rows) + 1)], notices, [], name)


def name_of(classes: list[str], value: Any) -> Any:
    """The name of a class number; what is no such number (-1 means 'none') stays None."""
    if not isinstance(value, int):
        return value
    return classes[value] if 0 <= value < len(classes) else None


def named(classes: list[str], value: Any) -> Any:
    """A class number, or a list of them, by name."""
    return [name_of(classes, item) for item in value] if isinstance(value, list) else name_of(classes, value)


def _classes(metadata: dict[bytes, bytes] | None, columns: list[str]) -> dict[int, list[str]]:
    """By column index, the class names that `datasets` notes in the files it writes."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        of_each = {index: _class_label(features[name]) for index, name in enumerate(columns)}
        return {index: [str(item) for item in names] for index, names in of_each.items() if names}
    except (KeyError, TypeError, ValueError):
        return {}


def _class_label(feature: Any) -> list[str] | None:
    """The class names of a column of class numbers, or of lists of them."""
    if isinstance(feature, dict) and feature.get("_type") in ("List", "LargeList", "Sequence"):
        feature = feature.get("feature")
    elif isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    return feature["names"] if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
