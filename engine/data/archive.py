"""Unpacking .gz and .zip with limits, so that a small file can't fill the memory."""

from __future__ import annotations

import gzip
import io
import itertools
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from engine.data.rows import check_bytes, listed
from engine.errors import DataError

_MAX_RATIO = 200
_RATIO_FROM_BYTES = 32 * 1024**2
"""Small files may be packed tighter: a few repeated lines are no attack."""
_MAX_FILES = 1000
_CHUNK = 1024**2


def unzip(data: bytes, name: str) -> list[tuple[str, bytes]]:
    """The files of a zip in the order of their names. Hidden files and folders of the system are passed over.

    Raises DataError for damaged, encrypted, oversized or nested archives.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            outside = [member.filename for member in archive.infolist() if _climbs(member.filename)]
            if outside:
                raise DataError(
                    f"{name} holds a file for a place outside of it ({outside[0]}), as made-up archives do.",
                    "Pack the files again, from inside their folder.",
                )
            members = [member for member in archive.infolist() if not member.is_dir() and is_visible(member.filename)]
            check_count(len(members), name)
            _check(sum(member.file_size for member in members), len(data), name)
            members.sort(key=lambda member: member.filename)
            return [(member.filename, _content(archive, member, name)) for member in members]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise DataError(f"{name} is a damaged zip file: {error}.", "Pack or get it again.") from None


def parts(data: bytes, name: str, wanted: Callable[[str], bool], most: int) -> dict[str, bytes]:
    """The wanted files of a document that is a zip inside, such as .docx, by their names.

    most: bytes of them together, unpacked. Raises DataError for damaged, encrypted and oversized ones.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir() and wanted(member.filename)]
            unpacked = sum(member.file_size for member in members)
            if unpacked > most:
                raise DataError(f"{name} has more than {most // 1024**2} MB of text.", "Split it into several files.")
            _check(unpacked, len(data), name)
            return {member.filename: _content(archive, member, name) for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise DataError(f"{name} is damaged: {error}.", "Save or get it again.") from None


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes:
    if member.flag_bits & 0x1:
        raise DataError(f"{name} is protected with a password.", "Pack it again without one.")
    with archive.open(member) as file:
        # One byte more than declared: a header may lie.
        content = file.read(member.file_size + 1)
    if len(content) > member.file_size:
        raise DataError(f"{name}: {member.filename} is larger than the archive says.", "Pack it again.")
    return content


def gunzip(data: bytes, name: str) -> bytes:
    """The content of a .gz file, within the limits."""
    out = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            while chunk := file.read(_CHUNK):
                out += chunk
                _check(len(out), len(data), name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{name} is a damaged gzip file: {error}.", "Pack or get it again.") from None
    return bytes(out)


def check_count(files: int, name: str) -> None:
    """Raises DataError where an archive or a folder holds too many files."""
    if files > _MAX_FILES:
        raise DataError(f"{name} holds {files:,} files.", f"Give at most {_MAX_FILES:,} data files at once.")


def pack(files: Sequence[Path], to: Path) -> None:
    """Write a zip of files from anywhere, as they are; those of one name are numbered. Raises OSError."""
    taken: set[str] = set()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            names = (f"{file.stem}-{number}{file.suffix}" for number in itertools.count(2))
            name = next(name for name in (file.name, *itertools.islice(names, len(files))) if name not in taken)
            taken.add(name)
            archive.write(file, name)


def check_workbook(data: bytes, name: str) -> None:
    """The same limits for a file that is a zip inside, such as .xlsx. Damage is left to its own reader."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check(sum(member.file_size for member in archive.infolist()), len(data), name)
    except zipfile.BadZipFile:
        return


def members(data: bytes) -> list[str]:
    """The names in a zip; none if it can't be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []


def without_papers(names: list[str]) -> tuple[list[str], str]:
    """Leaves out read-me and licence files where other files stand beside them, and says so."""
    papers = [
        name for name in names if _stem(name) in _PAPERS and PurePosixPath(name).suffix.lower() in ("", ".md", ".txt")
    ]
    kept = [name for name in names if name not in papers]
    if not papers or not kept:
        return names, ""
    return kept, f"Not read: {listed(papers)}."


_PAPERS = {"readme", "license", "licence", "copying", "notice", "source", "changelog", "citation"}


def _stem(name: str) -> str:
    return PurePosixPath(name).stem.lower()


def _climbs(name: str) -> bool:
    plain = name.replace("\\", "/")
    return plain.startswith("/") or ".." in plain.split("/")


def is_visible(name: str) -> bool:
    """Whether a file is one of a person's, and none that a system hides."""
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _check(unpacked: int, packed: int, name: str) -> None:
    check_bytes(unpacked, name)
    if unpacked > _RATIO_FROM_BYTES and unpacked > _MAX_RATIO * packed:
        raise DataError(
            f"{name} unpacks to more than {_MAX_RATIO} times its size, as made-up archives do.",
            "Give the unpacked file.",
        )
