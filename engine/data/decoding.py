"""Bytes to text: which encoding a file is in, and saying so where it is not UTF-8."""

from __future__ import annotations

import codecs

from charset_normalizer import from_bytes

from engine.errors import DataError

# UTF-32 stands first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LEGACY = [
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("mac_roman", "gb18030", "big5", "cp932", "cp949"),
]
_SAMPLE_BYTES = 200_000


def decode(data: bytes, name: str) -> tuple[str, list[str]]:
    """The text without a byte order mark, and a notice when it is not UTF-8.

    Raises DataError for bytes that are no text.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(data, encoding, name), [f"{name} is in {encoding.upper()}."]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        if "\0" not in text[:_SAMPLE_BYTES]:
            return text, []
    wide = _wide(data)
    if wide:
        return _decoded(data, wide, name), [f"{name} is in {wide.upper()} without a byte order mark."]
    if b"\0" in data[:_SAMPLE_BYTES]:
        raise DataError(
            f"{name} holds binary data, not text.", "Give a file of one of the accepted formats, unencrypted."
        )
    encoding, text = _legacy(data)
    return text, [f"{name} is not UTF-8; it was read as {encoding}. Check accents and quotes in the preview."]


def _wide(data: bytes) -> str | None:
    """UTF-16 shows without a mark by its zero bytes: nearly all at odd places, or nearly all at even ones."""
    sample = data[:_SAMPLE_BYTES]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > len(sample) // 5 and even * 20 < odd:
        return "utf-16-le"
    if even > len(sample) // 5 and odd * 20 < even:
        return "utf-16-be"
    return None


def _legacy(data: bytes) -> tuple[str, str]:
    """An 8-bit or East Asian encoding, by likeness.

    Western text fits several; then cp1252 is taken, as Windows and Excel write it.
    """
    matches = list(from_bytes(_telling(data), cp_isolation=_LEGACY))
    names = [matches[0].encoding] if matches else []
    fits = {name for match in matches for name in (match.encoding, *match.could_be_from_charset)}
    if "cp1252" in fits and names != ["mac_roman"]:
        names.insert(0, "cp1252")
    for name in (*names, "cp1252"):
        try:
            return name, data.decode(name)
        except UnicodeDecodeError:
            continue
    return "latin-1", data.decode("latin-1")


def _telling(data: bytes) -> bytes:
    """The lines that hold something other than ASCII, as far as the sample reaches."""
    lines = [line for line in data.splitlines(keepends=True) if not line.isascii()]
    return b"".join(lines)[:_SAMPLE_BYTES] or data[:_SAMPLE_BYTES]


def _decoded(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} begins as {encoding.upper()}, but byte {error.start:,} does not fit it.",
            "Save the file as UTF-8, or get it again if a download broke.",
        ) from None
