"""Data sets of the Hub before they are read: found by words, and the first rows of one file. Needs no download."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from engine.bases import access
from engine.bases import hub as hub_access
from engine.data import table, turns
from engine.data.hub import is_id
from engine.errors import DataError

T = TypeVar("T")
Token = str | bool | None
MOST = 8
ROWS = 5
SEARCH_S = 8.0
PREVIEW_S = 20.0
HEAD_BYTES = 200_000
"""Of a text file that are fetched for its first rows."""
_READ_WHOLE = 2_000_000
_LINED = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
_SIZES = re.compile(r"size_categories:(.+)")
_LETTERS = 300

# A search that nobody waits for any more ends by itself; a few of them at a time.
_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="hub")


@dataclass(frozen=True)
class Found:
    id: str
    downloads: int | None
    """In the last 30 days."""
    rows: str | None
    """About how many, in words; None where its owner does not say."""
    gated: bool


@dataclass(frozen=True)
class Preview:
    """`rows`: [column, text] of the first rows of `file`."""

    file: str
    rows: list[list[tuple[str, str]]]


def search(words: str) -> list[Found]:
    """Data sets whose names hold the words, most used first. Raises DataError where the Hub does not answer in time."""
    _require_hub()
    token = access.token()  # here, since what another thread may use is another question
    return _in_time(lambda: _searched(words, token), SEARCH_S)


def preview(id: str, split: str = "train", revision: str | None = None) -> Preview:
    """The first rows of the file that looks most like this split. Raises DataError where there is none to show."""
    if not is_id(id):
        raise DataError(f"{id!r} is not the id of a Hub data set.", "Write it as owner/name.")
    _require_hub()
    token = access.token()
    return _in_time(lambda: _previewed(id, split, revision, token), PREVIEW_S)


def _require_hub() -> None:
    if not hub_access.reachable():
        raise DataError(
            "The Hub can't be reached from here right now.", "Use a file, paste rows, or look again in a minute."
        )


def _in_time(ask: Callable[[], T], seconds: float) -> T:
    from huggingface_hub import errors

    try:
        return _pool.submit(ask).result(timeout=seconds)
    except TooLate:
        raise DataError(f"The Hub did not answer within {seconds:g} seconds.", "Try again in a minute.") from None
    except errors.GatedRepoError:
        raise DataError("This data set is gated: its owner asks people to agree first.", "Agree on its page.") from None
    except errors.RepositoryNotFoundError:
        raise DataError("The Hub has no data set of this name, or it is private.", "Check the spelling.") from None
    except (errors.HfHubHTTPError, errors.HTTPError, OSError) as error:
        raise DataError(f"The Hub's answer did not come ({type(error).__name__}).", "Try again in a minute.") from None


def _searched(words: str, token: Token) -> list[Found]:
    from huggingface_hub import HfApi

    answers = HfApi().list_datasets(
        search=words, sort="downloads", limit=MOST, expand=["downloads", "tags", "gated"], token=token
    )
    return [Found(item.id, item.downloads, _rows(item.tags or []), bool(item.gated)) for item in answers]


def _rows(tags: list[str]) -> str | None:
    """ "size_categories:10K<n<100K" → "10K to 100K"."""
    for tag in tags:
        size = _SIZES.fullmatch(tag)
        if size:
            low, _, high = size[1].rpartition("<")
            if low in ("", "n"):
                return f"fewer than {high}" if low else f"more than {size[1][2:]}" if ">" in high else None
            return f"{low.removesuffix('<n')} to {high}"
    return None


def _previewed(id: str, split: str, revision: str | None, token: Token) -> Preview:
    from huggingface_hub import HfApi, HfFileSystem

    info = HfApi().dataset_info(id, revision=revision, files_metadata=True, timeout=SEARCH_S, token=token)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    name = _likely(sizes, split)
    if name is None:
        raise DataError("There is no file here whose first rows can be shown.", "Read it to see what it holds.")
    files = HfFileSystem(token=token)
    with files.open(f"datasets/{id}@{info.sha}/{name}", "rb", block_size=HEAD_BYTES) as file:
        if name.endswith(".parquet"):
            return Preview(name, _parquet(file))
        data: bytes = file.read(HEAD_BYTES)
    whole = len(data) >= sizes[name]
    if not whole:
        # The last line is most likely cut.
        data = data[: data.rfind(b"\n") + 1]
    read = table.parse(PurePosixPath(name).name, data)
    return Preview(name, [_cells(row) for row in read.rows[:ROWS]])


def _likely(sizes: dict[str, int], split: str) -> str | None:
    """The data file that most likely holds the split."""
    fitting = [
        name
        for name, size in sorted(sizes.items())
        if name.endswith((*_LINED, ".parquet")) or (name.endswith(".json") and size <= HEAD_BYTES)
    ]
    fitting = [name for name in fitting if not PurePosixPath(name).name.startswith((".", "README", "requirements"))]
    named = [name for name in fitting if split.partition("[")[0].casefold() in name.casefold()]
    return next(iter(named or fitting), None)


def _parquet(file: Any) -> list[list[tuple[str, str]]]:
    import pyarrow.parquet

    # A buffer makes pyarrow read a few pages of each column, not all of a group.
    whole = pyarrow.parquet.ParquetFile(file, buffer_size=65536)
    batch = next(whole.iter_batches(batch_size=ROWS), None)
    if batch is None:
        return []
    small = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(small, batch.schema.with_metadata(whole.schema_arrow.metadata)) as writer:
        writer.write_batch(batch.cast(batch.schema.with_metadata(whole.schema_arrow.metadata)))
    return [_cells(row) for row in table.parse("first.parquet", small.getvalue()).rows]


def _cells(row: dict[str, Any]) -> list[tuple[str, str]]:
    shown = {name: turns.shown(value) for name, value in row.items()}
    return [(name, text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…") for name, text in shown.items()]
