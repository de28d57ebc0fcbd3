"""From whatever a person gives (a file, a folder, pasted rows, a Hub id, a sample) to a Table."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from engine import home
from engine.data import (
    apart,
    archive,
    conll,
    decoding,
    delimited,
    documents,
    excel,
    history,
    hub,
    markup,
    parquet,
    pdf,
    records,
    subtitles,
)
from engine.data.example import SplitName
from engine.data.rows import ACCEPTED, MAX_BYTES, SPLIT_NAMES, RowProblem, Table, check_bytes, listed
from engine.errors import DataError
from engine.specs.sections import Data

__all__ = ["ACCEPTED", "RowProblem", "Table", "load", "paste", "read", "samples"]

_SAMPLE = "sample:"
KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".conll": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".epub": "epub",
    ".srt": "subtitles",
    ".vtt": "subtitles",
    ".gz": "gz",
    ".zip": "zip",
    **dict.fromkeys(documents.CODE, "code"),
}
"""By the ending of a file's name; what is inside decides where its first bytes tell."""
_DOCUMENTS = ("text", "markdown", "html", "pdf", "docx", "epub", "subtitles", "code")
_BINARY: dict[str, Callable[[bytes, str], Table]] = {
    "xlsx": excel.read,
    "parquet": parquet.read,
    "pdf": pdf.read,
    "docx": apart.reader("docx"),
    "epub": apart.reader("epub"),
}
_TEXTS: dict[str, Callable[[str, str], Table]] = {
    "text": documents.read,
    "markdown": documents.read_whole,
    "html": lambda text, name: apart.reader("html")(text.encode("utf-8", "surrogatepass"), name),
    "subtitles": subtitles.read,
    "code": documents.read_code,
}
_REFUSED = {
    ".xls": "Save it as .xlsx.",
    ".xlsb": "Save it as .xlsx.",
    ".ods": "Save it as .xlsx or CSV.",
    ".doc": "Save it as .docx.",
    ".odt": "Save it as .docx.",
    ".rtf": "Save it as .docx.",
    ".pptx": "Save it as .pdf.",
    ".mobi": "Save it as .epub.",
}


def load(entry: Data) -> Table:
    """The table of one data entry of a spec."""
    return read(entry.source, config=entry.config, split=entry.hub_split, revision=entry.revision)


def read(source: str | Path, *, config: str | None = None, split: str = "train", revision: str | None = None) -> Table:
    """The table of a file, a folder, "sample:NAME", or a Hub data set by id (with configuration, split, revision).

    Raises DataError that names the file, and the line where it can.
    """
    text = str(source)
    if text.startswith(_SAMPLE):
        return _file(_sample(text.removeprefix(_SAMPLE)))
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
        if path.exists():
            raise DataError(f"{path} is no ordinary file.", f"Give a file: {ACCEPTED}.")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{text!r} can't be read: {getattr(error, 'strerror', None) or error}.", "Check the path."
        ) from None
    if hub.is_id(text) and path.suffix.lower() not in {**KINDS, **_REFUSED}:
        return hub.read(text, config, split, revision)
    raise _no_file(path, text)


def paste(text: str) -> Table:
    """The table of pasted rows: JSON, JSON Lines, cells from a spreadsheet, CSV, or lines of text."""
    if not text.strip():
        raise DataError("Nothing was pasted.", "Paste at least one row.")
    data = text.removeprefix("\ufeff")
    check_bytes(len(data), "The pasted text")
    return _text(data, "pasted rows", _sniffed(data))


def keep(text: str, folder: Path) -> Path:
    """Write pasted rows to a file in `folder` that `read` takes as `paste` would take the text; its path."""
    kind = _sniffed(text.removeprefix("\ufeff"))
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    path = folder / f"pasted-{digest}.{'txt' if kind == 'text' else kind}"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    return path


def samples() -> list[str]:
    """The names of the data sets that ship with the project, as `read` takes them."""
    return [f"{_SAMPLE}{path.stem}" for path in _sample_files()]


def _sample_files() -> list[Path]:
    folder = home.samples()
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in (".csv", ".json", ".jsonl"))


def _sample(name: str) -> Path:
    for path in _sample_files():
        if path.stem == name:
            return path
    raise DataError(
        f"There is no sample {name!r}.", f"The samples are {listed(samples()) or 'missing from this copy'}."
    )


def _file(path: Path) -> Table:
    if path.stat().st_size > MAX_BYTES:
        check_bytes(path.stat().st_size, path.name)
    table = parse(path.name, path.read_bytes())
    placed = history.read_places(path, len(table.rows))
    return replace(table, places=placed[0], continuous=placed[1]) if placed else table


def parse(name: str, data: bytes, packed: bool = False) -> Table:
    """The table of a file's bytes. What is inside decides; the name helps where that is open."""
    if not data or data.isspace():
        raise DataError(f"{name} is empty.", "Give a file with at least one row.")
    kind = _kind(name, data)
    if kind in ("gz", "zip"):
        if packed:
            raise DataError(f"{name} is an archive inside an archive.", "Unpack it once.")
        if kind == "gz":
            inner = PurePosixPath(name).stem if name.lower().endswith(".gz") else name
            return parse(inner, archive.gunzip(data, name), packed=True)
        return _several(archive.unzip(data, name), name, packed=True)
    if kind == "xlsx":
        archive.check_workbook(data, name)
    if kind in _BINARY:
        return _BINARY[kind](data, name)
    text, notices = markup.decoded(data, name) if kind == "html" else decoding.decode(data, name)
    table = _text(text, name, kind or _sniffed(text))
    table.notices[:0] = notices
    return table


def _kind(name: str, data: bytes) -> str | None:
    """What the file is, by its first bytes, then by its name; None where only its text can tell."""
    suffix = PurePosixPath(name).suffix.lower()
    if data.startswith(b"\x1f\x8b"):
        return "gz"
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        inside = archive.members(data)
        if "xl/workbook.xml" in inside or suffix in (".xlsx", ".xlsm"):
            return "xlsx"
        if "word/document.xml" in inside or suffix == ".docx":
            return "docx"
        if "META-INF/container.xml" in inside or suffix == ".epub":
            return "epub"
        if suffix not in _REFUSED:
            return "zip"
    if data.startswith(b"PAR1"):
        return "parquet"
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        wanted = ".docx" if suffix.startswith(".do") else ".xlsx"
        raise DataError(f"{name} is an old or a protected Office file.", f"Save it as {wanted} without a password.")
    if suffix in _REFUSED:
        raise DataError(f"{name} can't be read: {suffix} is not accepted.", _REFUSED[suffix])
    known = KINDS.get(suffix)
    if known in ("gz", "zip", *_BINARY):
        raise DataError(f"{name} is no {suffix} file inside, or it is damaged.", "Write or get it again.")
    return known


def _text(text: str, name: str, kind: str) -> Table:
    if not text.strip():
        raise DataError(f"{name} is empty.", "Give a file with at least one row.")
    if kind == "conll" or (kind in ("text", "tsv") and conll.looks_like(text)):
        return conll.read(text, name)
    if kind in ("csv", "tsv"):
        return _rowed(delimited.read(text, name, "\t" if kind == "tsv" else ","))
    if kind in _TEXTS:
        return _TEXTS[kind](text, name)
    listed_lines = records.looks_like_lines(text)
    as_lines = listed_lines if kind == "json" else listed_lines or not text.lstrip().startswith("[")
    table = _rowed(records.read_lines(text, name) if as_lines else records.read_json(text, name))
    if as_lines != (kind == "jsonl"):
        table.notices.insert(0, f"{name} is {'JSON Lines' if as_lines else 'one JSON value'} inside; it was read so.")
    return table


def _rowed(table: Table) -> Table:
    if not table.rows and not table.problems:
        raise DataError(f"{table.source} has a header but no rows.", "Add rows under it.")
    return table


def _sniffed(text: str) -> str:
    """What a text without a telling name is."""
    start = text.lstrip()[:1]
    if start in ("{", "[") and records.looks_like_lines(text):
        return "jsonl"
    if start in ("{", "["):
        return "json"
    if text.lstrip()[:14].lower().startswith(("<!doctype html", "<html")):
        return "html"
    if conll.looks_like(text):
        return "conll"
    if delimited.consistent(text):
        return "tsv" if delimited.separator(text, "\t") == "\t" else "csv"
    return "text"


def _folder(path: Path) -> Table:
    """Its files and those of folders in it, as `archive.unzip` takes them from a zip."""
    files = sorted(_files(path), key=lambda file: file.relative_to(path).as_posix())
    usable = [file for file in files if file.suffix.lower() in KINDS]
    unread = [file.relative_to(path).as_posix() for file in files if file.suffix.lower() not in KINDS]
    archive.check_count(len(usable), str(path))
    check_bytes(sum(file.stat().st_size for file in usable), str(path))
    table = _several([(file.relative_to(path).as_posix(), file.read_bytes()) for file in usable], path.name)
    if unread:
        table.notices.append(f"Files of another kind, not read: {listed(unread)}.")
    return table


def _files(path: Path) -> Iterator[Path]:
    """Links are passed over, which may lead anywhere, and so is what is hidden."""
    for child in path.iterdir():
        if child.is_symlink() or not archive.is_visible(child.name):
            continue
        if child.is_dir():
            yield from _files(child)
        elif child.is_file():
            yield child


def _several(files: list[tuple[str, bytes]], name: str, packed: bool = False) -> Table:
    """One table of the files of a folder or an archive (`packed`), if their columns are equal."""
    kept, notice = archive.without_papers([file for file, _ in files])
    notices = [notice] if notice else []
    tables, broken = _read_each([(file, data) for file, data in files if file in kept], name, notices, packed)
    if not tables:
        raise DataError(f"{name} holds no data file.", f"Put one in: {ACCEPTED}.")
    if len(tables) == 1 and not broken:
        table = tables[0][1]
        table.notices[:0] = notices
        return table
    groups: dict[tuple[str, ...], list[str]] = {}
    for file, table in tables:
        groups.setdefault(tuple(sorted(table.columns)), []).append(file)
    if len(groups) > 1:
        told = "; ".join(f"{listed(files, 3)}: {listed(columns, 6)}" for columns, files in groups.items())
        raise DataError(
            f"The files of {name} have different columns ({told}).", "Give files of one kind, or one of them."
        )
    parts: list[tuple[SplitName | None, Table]] = []
    for file, table in tables:
        places = [f"{file}, {place}" for place in table.places]
        problems = [RowProblem(item.row, f"{file}, {item.place}", item.problem, item.fix) for item in table.problems]
        moved = replace(table, places=places, problems=problems, source=file)
        parts.append((SPLIT_NAMES.get(PurePosixPath(file).stem.split("-")[0].lower()), moved))
    divided = all(split for split, _ in parts)
    for file, error in broken:
        problem = RowProblem(1, file, error.problem, error.fix)
        parts.append(("train" if divided else None, Table(tables[0][1].columns, [], [], problems=[problem])))
    notices.append(f"{len(tables)} files of {name} were read as one: {listed([file for file, _ in tables], 5)}.")
    return records.joined(parts, name, notices)


def _read_each(
    files: list[tuple[str, bytes]], name: str, notices: list[str], packed: bool
) -> tuple[list[tuple[str, Table]], list[tuple[str, DataError]]]:
    """The tables of files, and documents that can't be read: beside others they cost a problem, not the whole."""
    tables: list[tuple[str, Table]] = []
    broken: list[tuple[str, DataError]] = []
    empty, unread, held = [], [], 0
    for file, data in files:
        kind = KINDS.get(PurePosixPath(file).suffix.lower())
        if len(files) > 1 and kind in _DOCUMENTS and (not data or data.isspace()):
            empty.append(file)
            continue
        try:
            table = parse(PurePosixPath(file).name, data, packed)
        except DataError as error:
            if len(files) > 1 and kind is None and PurePosixPath(file).suffix and b"\0" in data[:8192]:
                unread.append(file)
            elif len(files) > 1 and kind in _DOCUMENTS:
                broken.append((file, error))
            else:
                raise
            continue
        # Documents that are packed once more are larger than the archive says.
        held += sum(len(row["text"]) for row in table.rows) if kind in _DOCUMENTS else 0
        check_bytes(held, name)
        tables.append((file, table))
    if broken and not tables:
        raise broken[0][1]
    if empty:
        notices.append(f"Empty files, not read: {listed(empty)}.")
    if unread:
        notices.append(f"Files of another kind, not read: {listed(unread)}.")
    return tables, broken


def _no_file(path: Path, text: str) -> DataError:
    folder = path.parent
    beside = [child.name for child in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return DataError(
        f"There is no file {text}.{hint}",
        "Give a file, a Hub data set as owner/name, or a sample such as sample:banking-intents.",
    )
